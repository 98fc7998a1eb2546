"""An output that appears whole, by one rename, or not at all: a directory or a file.

It is made in a hidden directory beside it, which its writer holds by a lock. What a killed writer left is cleared by
the next one with the same output, and what was there before is where it was, or is brought back.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from last_cli.base.errors import CheckpointError, OutputError
from last_cli.base.files import resolved
from last_cli.base.unbroken import unbroken
from last_cli.formats.account import check_file_replaceable, check_replaceable, stamp_beside
from last_cli.formats.remote import remote_url
from last_cli.formats.swap import exchange, put
from last_cli.formats.types import INCOMPLETE
from last_cli.formats.workplace import ASIDE, STAMP, clear_left, sync, sync_one, workplace

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk⟨ with ⟦output⟧|⟩"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another disk⟨ with ⟦output⟧|⟩"),
    errno.EFBIG: ("a file would be larger than is allowed here", "raise the limit (`ulimit -f`), or write elsewhere"),
    errno.EACCES: ("permission denied", "write to a directory of your own⟨ with ⟦output⟧|⟩"),
    errno.EPERM: ("permission denied", "write to a directory of your own⟨ with ⟦output⟧|⟩"),
    errno.EROFS: ("the file system is read-only", "write to another place⟨ with ⟦output⟧|⟩"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name⟨ with ⟦output⟧|⟩"),
}
_ANOTHER = "name another output⟨ with ⟦output⟧|⟩"


@contextlib.contextmanager
def staged(out: Path, *, source: Path | None, force: bool) -> Iterator[Path]:
    """A hidden directory that becomes `out` when the block ends, and is removed when it fails.

    Args:
        out: the directory that appears.
        source: the checkpoint that is read meanwhile; `out` may not touch it.
        force: replace `out` where it is a checkpoint and nothing else.

    Raises:
        OutputError: `out` exists and is not to be replaced, or cannot be written.
        CheckpointError: the block failed to read the source.
    """
    target = out.absolute()
    with _in_words(out, source):
        clear_left(target)
        _check(out, source, force)
        with workplace(target) as place:
            stage = place / "new"
            stage.mkdir()
            yield stage
            sync(stage)
            with unbroken():
                _appear(stage, out, lambda: exchange(stage, target, place / ASIDE), lambda: _check(out, None, force))


@contextlib.contextmanager
def staged_file(out: Path, *, force: bool, stale: Path | None = None) -> Iterator[BinaryIO]:
    """An open file that becomes `out` when the block ends, and is removed when it fails.

    Args:
        out: the file that appears.
        force: replace `out` where it is a file.
        stale: a file that says what was there, and goes with it.

    Raises:
        OutputError: `out` exists and is not to be replaced, or cannot be written.
    """
    target = out.absolute()
    with _in_words(out, None):
        clear_left(target)
        _check_file(out, force)
        with workplace(target) as place:
            stage = place / "new"
            with stage.open("xb") as file:
                yield file
            sync_one(stage)
            with unbroken():
                _appear(stage, out, lambda: stage.replace(target), lambda: _check_file(out, force))
                if stale and force:
                    stale.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_with_stamp(out: Path, *, source: Path | None, force: bool, exported: bool = False) -> Iterator[Path]:
    """A hidden directory; a file in it of the name of `out` becomes `out`, and its stamp, NAME.last.json, follows.

    A writer that is killed between the two leaves the stamp to the next one.

    Args:
        out: the file that appears.
        source: the checkpoint that is read meanwhile; `out` may not touch it.
        force: replace `out` and its stamp where they are a checkpoint and its stamp.
        exported: with `force` whatever files they are.

    Raises:
        OutputError: `out` exists and is not to be replaced, or cannot be written.
        CheckpointError: the block failed to read the source.
    """
    target = out.absolute()
    with _in_words(out, source):
        clear_left(target)
        _check_with_stamp(out, source, force, exported)
        with workplace(target) as place:
            stage, new = place / "files", place / "new"
            stage.mkdir()
            yield stage
            sync(stage)
            (stage / out.name).rename(new)
            (stage / stamp_beside(out).name).rename(place / STAMP)
            with unbroken():
                _appear(new, out, lambda: new.replace(target), lambda: _check_with_stamp(out, None, force, exported))
                (place / STAMP).replace(stamp_beside(target))
                sync_one(target.parent)


def check(out: Path, *, source: Path | None, force: bool, file: bool = False) -> None:
    """What `staged` checks first, or for a file `staged_with_stamp`, for before any long work.

    Raises:
        OutputError: it would not begin.
    """
    with _in_words(out, source):
        (_check_with_stamp if file else _check)(out, source, force)


@contextlib.contextmanager
def _in_words(out: Path, source: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        read = error.filename if error.filename2 is None else None  # What concerns two files failed in writing one.
        if source and read and Path(os.fsdecode(read)).is_relative_to(source):
            raise CheckpointError(f"{read}: cannot be read ({error.strerror})", INCOMPLETE) from error
        reason, hint = _REASONS.get(
            error.errno or 0, (error.strerror or str(error), "write elsewhere⟨ with ⟦output⟧|⟩")
        )
        raise OutputError(f"{out}: cannot be written: {reason}", hint) from error


def _check(out: Path, source: Path | None, force: bool) -> None:
    _check_place(out, source)
    _check_absent(out, force)
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise OutputError(f"{out}: is no directory, so it is not replaced", _ANOTHER)
    check_replaceable(out)


def _check_with_stamp(out: Path, source: Path | None, force: bool, exported: bool = False) -> None:
    _check_place(out, source)
    _check_file(out, force)
    if exported:
        _check_file(stamp_beside(out), force)
    else:
        check_file_replaceable(out)


def _check_place(out: Path, source: Path | None) -> None:
    target = out.absolute()
    if url := remote_url(out):
        raise OutputError(f"{url}: remote paths are not written", "write to a directory here, and copy it there")
    if source is not None:
        ours, theirs = resolved(target), resolved(source)
        if ours == theirs:
            raise OutputError(f"{out}: the output is the input itself", _ANOTHER)
        if theirs in ours.parents or ours in theirs.parents:
            relation = "inside" if theirs in ours.parents else "around"
            raise OutputError(f"{out}: the output lies {relation} the input {source}", _ANOTHER)
    if not target.parent.is_dir():
        raise OutputError(f"{out}: there is no directory {target.parent}", f"create it first: mkdir -p {target.parent}")


def _check_file(out: Path, force: bool) -> None:
    _check_absent(out, force)
    if out.is_dir():
        raise OutputError(f"{out}: is a directory, expected a file to write", _ANOTHER)


def _check_absent(out: Path, force: bool) -> None:
    if os.path.lexists(out) and not force:
        raise OutputError(f"{out}: exists already", f"{_ANOTHER}, or replace it with ⟦force⟧")


def _appear(stage: Path, out: Path, replace: Callable[[], object], check_again: Callable[[], None]) -> None:
    """Gives what is finished its name; nothing is replaced that appeared meanwhile and may not be.

    Args:
        stage: what is finished, a directory or a file.
        out: its name.
        replace: puts `stage` there where something is.
        check_again: raises OutputError where what is there may not be replaced.
    """
    target = out.absolute()
    while True:
        try:
            put(stage, target)
            break
        except FileExistsError:
            check_again()
        with contextlib.suppress(FileNotFoundError):  # Another has moved it away meanwhile.
            replace()
            break
    sync_one(target.parent)
