"""An output directory that appears whole, by one rename, or not at all."""

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

from last_cli.base.errors import CheckpointError, OutputError
from last_cli.formats.orbax.locate import locate
from last_cli.formats.orbax.parts import is_part
from last_cli.formats.orbax.store import INCOMPLETE

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk with -o"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another disk with -o"),
    errno.EFBIG: ("a file would be larger than is allowed here", "raise the limit (`ulimit -f`), or write elsewhere"),
    errno.EACCES: ("permission denied", "write to a directory of your own with -o"),
    errno.EPERM: ("permission denied", "write to a directory of your own with -o"),
    errno.EROFS: ("the file system is read-only", "write to another place with -o"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name with -o"),
}


_SYNCS = 16


@contextlib.contextmanager
def staged(out: Path, *, source: Path | None, force: bool) -> Iterator[Path]:
    """A hidden directory beside `out` that becomes `out` when the block ends, and is removed when it fails.

    `source` is the checkpoint that is read meanwhile: `out` may not touch it. Raises OutputError where `out` exists
    (unless `force`, and it is a checkpoint and nothing else) or cannot be written.
    """
    target = out.absolute()
    with _in_words(out, source):
        _clear_stale(target)
        _check(out, target, source, force)
        stage = _beside(target, "stage")
        try:
            stage.mkdir()
            yield stage
            _sync(stage)
            _appear(stage, target)
        finally:
            for entry in target.parent.iterdir():
                if entry.name.startswith(stage.name):  # Orbax makes a directory of its own beside the one it is given.
                    _remove(entry)


def check(out: Path, *, source: Path | None, force: bool) -> None:
    """Raises OutputError where `staged` would not begin: before any long work."""
    with _in_words(out, source):
        _check(out, out.absolute(), source, force)


@contextlib.contextmanager
def _in_words(out: Path, source: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        read = error.filename if error.filename2 is None else None  # What concerns two files failed in writing one.
        if source and read and Path(os.fsdecode(read)).is_relative_to(source):
            raise CheckpointError(f"{read}: cannot be read ({error.strerror})", INCOMPLETE) from error
        reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), "write elsewhere with -o"))
        raise OutputError(f"{out}: cannot be written: {reason}", hint) from error


def _check(out: Path, target: Path, source: Path | None, force: bool) -> None:
    if source is not None:
        ours, theirs = target.resolve(), source.resolve()
        if ours == theirs:
            raise OutputError(f"{out}: the output is the input itself", "name another output with -o")
        if theirs in ours.parents or ours in theirs.parents:
            relation = "inside" if theirs in ours.parents else "around"
            raise OutputError(f"{out}: the output lies {relation} the input {source}", "name another output with -o")
    if not target.parent.is_dir():
        raise OutputError(f"{out}: there is no directory {target.parent}", f"make it: mkdir -p {target.parent}")
    if not os.path.lexists(target):
        return
    if not force:
        raise OutputError(f"{out}: exists already", "name another output with ⟦output⟧, or replace it with ⟦force⟧")
    if target.is_symlink() or not target.is_dir():
        raise OutputError(f"{out}: is no directory, so it is not replaced", "name another output with -o")
    if any(target.iterdir()) and (foreign := _foreign(target)):
        raise OutputError(
            f"{out}: holds more than a checkpoint ({foreign}), so it is not replaced",
            "name another output with -o, or move these files away",
        )


def _foreign(directory: Path) -> str | None:
    """The first entry of `directory` that no checkpoint has, or None where all of it is one checkpoint."""
    try:
        locate(directory)
    except CheckpointError:
        return "no checkpoint in it"
    return next((entry.name for entry in sorted(directory.iterdir()) if not is_part(entry)), None)


def _appear(stage: Path, target: Path) -> None:
    """Puts `stage` in the place of `target`; what was there comes back if that fails."""
    old = _beside(target, "old")
    if replaces := target.exists():
        target.rename(old)
    try:
        stage.rename(target)
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
    for entry in target.parent.iterdir() if target.parent.is_dir() else ():
        match = pattern.fullmatch(entry.name)
        if not match or _is_alive(int(match[2])):
            continue
        if match[1] == "old" and not target.exists():
            entry.rename(target)
        else:
            shutil.rmtree(entry, ignore_errors=True)


def _remove(directory: Path) -> None:
    """Removes a directory in which writes that had begun may still come to their end."""
    for _ in range(100):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.last-{what}-{os.getpid()}-{secrets.token_hex(4)}")


def _sync(directory: Path) -> None:
    with ThreadPoolExecutor(_SYNCS) as pool:  # a disk takes many at once faster than one after the other
        list(pool.map(_sync_one, directory.rglob("*")))
    _sync_one(directory)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
