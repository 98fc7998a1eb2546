"""An output that appears whole, by one rename, or not at all: a directory or a file."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from last_cli.base.errors import CheckpointError, OutputError
from last_cli.formats.format import format_named
from last_cli.formats.locate import locate
from last_cli.formats.types import INCOMPLETE

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk with ⟦output⟧"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another disk with ⟦output⟧"),
    errno.EFBIG: ("a file would be larger than is allowed here", "raise the limit (`ulimit -f`), or write elsewhere"),
    errno.EACCES: ("permission denied", "write to a directory of your own with ⟦output⟧"),
    errno.EPERM: ("permission denied", "write to a directory of your own with ⟦output⟧"),
    errno.EROFS: ("the file system is read-only", "write to another place with ⟦output⟧"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name with ⟦output⟧"),
}
_ANOTHER = "name another output with ⟦output⟧"

_SYNCS = 16


@contextlib.contextmanager
def staged(out: Path, *, source: Path | None, force: bool) -> Iterator[Path]:
    """A hidden directory beside `out` that becomes `out` when the block ends, and is removed when it fails.

    Args:
        out: the directory that appears.
        source: the checkpoint that is read meanwhile; `out` may not touch it.
        force: replace `out` where it is a checkpoint and nothing else.

    Raises:
        OutputError: `out` exists and is not to be replaced, or cannot be written.
        CheckpointError: the block failed to read the source.
    """
    with _in_words(out, source):
        _clear_stale(out.absolute())
        _check(out, source, force)
        with _appearing(out.absolute()) as stage:
            stage.mkdir()
            yield stage


@contextlib.contextmanager
def staged_file(out: Path, *, force: bool) -> Iterator[BinaryIO]:
    """An open file beside `out` that becomes `out` when the block ends, and is removed when it fails.

    Args:
        out: the file that appears.
        force: replace `out` where it is a file.

    Raises:
        OutputError: `out` exists and is not to be replaced, or cannot be written.
    """
    with _in_words(out, None):
        _clear_stale(out.absolute())
        _check_absent(out, force)
        if out.is_dir():
            raise OutputError(f"{out}: is a directory, expected a file to write", _ANOTHER)
        with _appearing(out.absolute()) as stage, stage.open("xb") as file:
            yield file


def check(out: Path, *, source: Path | None, force: bool) -> None:
    """What `staged` checks first, for before any long work.

    Raises:
        OutputError: `staged` would not begin.
    """
    with _in_words(out, source):
        _check(out, source, force)


@contextlib.contextmanager
def _in_words(out: Path, source: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        read = error.filename if error.filename2 is None else None  # What concerns two files failed in writing one.
        if source and read and Path(os.fsdecode(read)).is_relative_to(source):
            raise CheckpointError(f"{read}: cannot be read ({error.strerror})", INCOMPLETE) from error
        reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), "write elsewhere with ⟦output⟧"))
        raise OutputError(f"{out}: cannot be written: {reason}", hint) from error


def _check(out: Path, source: Path | None, force: bool) -> None:
    target = out.absolute()
    if source is not None:
        ours, theirs = target.resolve(), source.resolve()
        if ours == theirs:
            raise OutputError(f"{out}: the output is the input itself", _ANOTHER)
        if theirs in ours.parents or ours in theirs.parents:
            relation = "inside" if theirs in ours.parents else "around"
            raise OutputError(f"{out}: the output lies {relation} the input {source}", _ANOTHER)
    if not target.parent.is_dir():
        raise OutputError(f"{out}: there is no directory {target.parent}", f"make it: mkdir -p {target.parent}")
    _check_absent(out, force)
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise OutputError(f"{out}: is no directory, so it is not replaced", _ANOTHER)
    if any(target.iterdir()) and (foreign := _foreign(target)):
        raise OutputError(
            f"{out}: holds more than a checkpoint ({foreign}), so it is not replaced",
            f"{_ANOTHER}, or move these files away",
        )


def _check_absent(out: Path, force: bool) -> None:
    if os.path.lexists(out) and not force:
        raise OutputError(f"{out}: exists already", f"{_ANOTHER}, or replace it with ⟦force⟧")


def _foreign(directory: Path) -> str | None:
    """The first entry of `directory` that no checkpoint has, or None where all of it is one checkpoint."""
    try:
        format = format_named(locate(directory).format)
    except CheckpointError:
        return "no checkpoint in it"
    return next((entry.name for entry in sorted(directory.iterdir()) if not format.is_part(entry)), None)


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A name beside `target`; what the block makes there becomes `target`, or is removed when the block fails."""
    stage = _beside(target, "stage")
    try:
        yield stage
        _sync(stage)
        _appear(stage, target)
    finally:
        for entry in _siblings(target):
            if entry.name.startswith(stage.name):  # Orbax makes a directory of its own beside the one it is given.
                _remove(entry)


def _appear(stage: Path, target: Path) -> None:
    """Puts `stage` in the place of `target`; what was there comes back if that fails."""
    old = _beside(target, "old")
    if replaces := target.is_dir():  # A file is replaced by the rename itself.
        target.rename(old)
    try:
        stage.replace(target)
    except OSError:
        if replaces:
            old.rename(target)
        raise
    _sync_one(target.parent)
    if replaces:
        shutil.rmtree(old, ignore_errors=True)


def _clear_stale(target: Path) -> None:
    """Removes what a killed run left beside `target`; brings back what it had moved aside and not yet replaced."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.last-(stage|old)-(\d+)-[0-9a-f]+.*")
    for entry in _siblings(target):
        match = pattern.fullmatch(entry.name)
        if not match or _is_alive(int(match[2])):
            continue
        if match[1] == "old" and not target.exists():
            entry.rename(target)
        else:
            _delete(entry)


def _remove(entry: Path) -> None:
    """Removes a file, or a directory in which writes that had begun may still come to their end."""
    for _ in range(100):
        _delete(entry)
        if not entry.exists():
            return
        time.sleep(0.02)


def _delete(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            entry.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _siblings(target: Path) -> list[Path]:
    return list(target.parent.iterdir()) if target.parent.is_dir() else []


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.last-{what}-{os.getpid()}-{secrets.token_hex(4)}")


def _sync(stage: Path) -> None:
    with ThreadPoolExecutor(_SYNCS) as pool:  # a disk takes many at once faster than one after the other
        list(pool.map(_sync_one, stage.rglob("*")))
    _sync_one(stage)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
