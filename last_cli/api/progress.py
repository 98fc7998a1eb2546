"""How far a call has come, for whoever looks on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from last_cli.base.progress import Progress


@contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """The callback that is given; by default bars in a terminal and a line in a notebook; none where False."""
    if progress is True:
        from last_cli.display.terminal import progress_bar

        with progress_bar(quiet=False) as bar:
            yield bar
    else:
        yield progress or None
