"""What people read on stderr: lines, and progress bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import last_cli.display.escape as escape
from last_cli.base.progress import Progress


def tell(line: str, kind: str = "") -> None:
    """A line to stderr: a warning, a hint, the next command, a summary."""
    from rich.text import Text

    style = {"warning": "yellow", "hint": "cyan", "next": "cyan", "error": "bold red", "ok": "green"}.get(kind, "dim")
    text = Text(f"{kind}: " if kind in ("warning", "hint", "next", "error") else "", style=style)
    whole = kind == "next" or not sys.stderr.isatty()  # a command is there to be copied
    _console().print(text + Text(escape.plain(line), style="" if text else style), soft_wrap=whole)


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress | None]:
    """A progress callback that draws bars on stderr, or a line in a notebook; None where neither is there.

    Until something is done, a bar without an end says that the program is being compiled.
    """
    if quiet or not sys.stderr.isatty():
        yield None if quiet or "ipykernel" not in sys.modules else _line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=_console(), transient=True) as bars:
        tasks: dict[str, Any] = {}
        compiling = [bars.add_task("compiling", total=None)]

        def advance(what: str, done: int, total: int) -> None:
            if done and compiling:
                bars.remove_task(compiling.pop())
            if what not in tasks:
                tasks[what] = bars.add_task(escape.plain(what), total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


@contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """The callback that is given; for True bars in a terminal and a line in a notebook; else none."""
    if progress is True:
        with progress_bar(quiet=False) as bar:
            yield bar
    else:
        yield progress or None


def _line(what: str, done: int, total: int) -> None:
    """One line, written over again, which is gone at the end."""
    line = f"{escape.plain(what)} {done:,} of {total:,}"
    sys.stderr.write(f"\r{line}" if done < total else f"\r{' ' * len(line)}\r")


@cache
def _console() -> Any:
    """One for both, so that lines appear above the bars."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)
