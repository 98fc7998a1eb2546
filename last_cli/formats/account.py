"""Every file of a checkpoint accounted for: by its layout, or by name and digest in the stamp that `last` left.

What is to be replaced is only what is accounted for whole; a user's files in the same directory never are.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from last_cli.base.errors import CheckpointError, OutputError
from last_cli.base.words import some
from last_cli.formats.format import format_named
from last_cli.formats.json_file import read_aside
from last_cli.formats.locate import locate
from last_cli.formats.stamp import is_stamp
from last_cli.formats.types import STAMP_FILE, Location

_DRAWN = re.compile(r"(?:.*/)?[0-9a-f]{32}")
_ELSEWHERE = "name another output⟨ with ⟦output⟧|⟩, or move {} away yourself"


def check_replaceable(out: Path) -> None:
    """Looks through what is there, before it is replaced.

    Args:
        out: a directory.

    Raises:
        OutputError: it is not exactly one checkpoint; names up to three files that are no part of it.
    """
    if not any(out.iterdir()):
        return
    location = _one_checkpoint(out)
    stamp = _stamp(out / STAMP_FILE)
    explained = format_named(location.format).parts(location)
    if _is_run(location) and not stamp:
        raise OutputError(f"{out}: is a run with steps, so it is not replaced", _ELSEWHERE.format("it"))
    named = _named(stamp or {})
    explained = explained - _not_drawn(out, stamp or {})
    strangers = [
        name
        for name, file in _files(out)
        if not (name in explained or (name == STAMP_FILE and stamp) or (name in named and digest(file) == named[name]))
    ]
    if strangers:
        raise OutputError(
            f"{out}: holds more than a checkpoint ({some(strangers)}), so it is not replaced",
            _ELSEWHERE.format("these files") + _of_config(strangers, stamp),
        )


def check_file_replaceable(out: Path) -> None:
    """Looks at a file before it is replaced, with the stamp beside it; either may be missing.

    Raises:
        OutputError: they are no checkpoint.
    """
    if os.path.lexists(out):
        if out.is_symlink() or not out.is_file():
            raise OutputError(f"{out}: is no file, so it is not replaced", _ELSEWHERE.format("it"))
        location = _one_checkpoint(out)
        if not format_named(location.format).parts(location):
            raise OutputError(f"{out}: holds no arrays, so it is not replaced", _ELSEWHERE.format("it"))
    beside = stamp_beside(out)
    if os.path.lexists(beside) and not _stamp(beside):
        raise OutputError(f"{beside}: is no stamp of `last`, so it is not replaced", _ELSEWHERE.format("it"))


def stamp_beside(file: Path) -> Path:
    """Where the stamp of a file lies that may not be there yet."""
    return file.with_name(f"{file.name}.{STAMP_FILE}")


def digest(file: Path) -> str:
    """SHA-256 of a file, or nothing that a digest equals where it is none."""
    if file.is_symlink() or not file.is_file():
        return ""
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _one_checkpoint(out: Path) -> Location:
    try:
        return locate(out)
    except CheckpointError as error:
        names = ", ".join(name for name, _ in islice(_files(out), 3)) if out.is_dir() else "other data"
        raise OutputError(
            f"{out}: is not known as one checkpoint, so it is not replaced: it holds {names}",
            _ELSEWHERE.format("what is there"),
        ) from error


def drawn_files(root: Path) -> list[str]:
    """Files of a database, whose names are drawn at random, so that only a list tells them from a user's."""
    return [name for name in _names(root) if _DRAWN.fullmatch(name)] if root.is_dir() else []


def _not_drawn(out: Path, stamp: Mapping[str, Any]) -> set[str]:
    """Files with such names that a stamp with a list of them does not have."""
    written = stamp.get("written")
    drawn = written.get("drawn") if isinstance(written, dict) else None
    return {name for name in drawn_files(out) if name not in drawn} if isinstance(drawn, list) else set()


def _is_run(location: Location) -> bool:
    """Whether steps lie below the root: a step itself, a tree and a file that lies alone are none."""
    if location.root == location.directory:
        return False
    return location.step is not None if location.item is None else location.root != location.directory.parent


def _stamp(file: Path) -> dict[str, Any] | None:
    content = {} if file.is_symlink() else read_aside(file)[0]
    return content if is_stamp(content) else None


def _named(stamp: Mapping[str, Any]) -> Mapping[str, str]:
    """The files that a stamp names; nothing where it lies about its form."""
    written = stamp.get("written")
    files = written.get("files") if isinstance(written, dict) else None
    return files if isinstance(files, dict) else {}


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """All that is no directory, and links to directories, by its path below a root."""
    return ((name, root / name) for name in _names(root))


def _names(root: Path) -> Iterator[str]:
    """The paths of _files; raises OSError where a directory cannot be looked into."""

    def unseen(error: OSError) -> NoReturn:
        raise error

    start = len(os.path.join(root, ""))  # noqa: PTH118 - there may be many files, and a Path takes a while.
    for folder, folders, files in os.walk(root, onerror=unseen):
        above = f"{folder[start:]}/" if len(folder) >= start else ""
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (above + name for name in sorted([*files, *links]))


def _of_config(strangers: list[str], stamp: Mapping[str, Any] | None) -> str:
    """Outputs of 0.1 have no list of the files that were copied along."""
    if not stamp or "written" in stamp or not all(name.endswith(".json") for name in strangers):
        return ""
    return "; the stamp, of an earlier `last`, does not say whether it copied them"
