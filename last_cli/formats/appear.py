"""An output file that appears whole, by one rename, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from last_cli.base.errors import OutputError


@contextlib.contextmanager
def appearing(dst: Path, force: bool) -> Iterator[BinaryIO]:
    """An open file beside `dst` that becomes `dst` when the block ends, and is removed when it fails.

    Raises:
        OutputError: `dst` exists (unless `force`, and it is a file) or cannot be written.
    """
    if os.path.lexists(dst) and not force:
        raise OutputError(f"{dst}: exists already", "name another output with ⟦output⟧, or replace it with ⟦force⟧")
    if dst.is_dir():
        raise OutputError(f"{dst}: is a directory, expected a file to write", "name another output with -o")
    stage = dst.with_name(f".{dst.name}.last-stage-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with stage.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        stage.replace(dst)
    except OSError as error:
        raise OutputError(
            f"{dst}: cannot be written: {error.strerror or error}", "write to another place with -o"
        ) from error
    finally:
        stage.unlink(missing_ok=True)
