"""The hidden directory beside an output in which it is made, held by its writer, and cleared once that is dead."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from last_cli.base.locks import hold, is_old, left
from last_cli.base.unbroken import unbroken
from last_cli.formats.types import stamp_file

ASIDE = "old"
"""The name in it of what was there before, on systems that cannot swap old and new in one step."""

STAMP = "stamp"
"""The name in it of the stamp of a file, which follows once the file is in its place."""

_LOCK = "lock"
_SYNCS = 16


@contextlib.contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """A hidden directory beside `target` that this process holds; it is removed at the end, with all that is in it."""
    with unbroken() as heard:
        place, lock = _made(target)
        try:
            with heard():
                yield place
        finally:
            _remove(place)
            os.close(lock)


def clear_left(target: Path) -> None:
    """Removes what dead writers left beside `target`; brings back what one had moved aside, finishes what it began."""
    beside = target.parent.iterdir() if target.parent.is_dir() else ()
    for place in [entry for entry in beside if entry.name.startswith(_prefix(target)) and not entry.is_symlink()]:
        with unbroken(), _left(place) as dead:
            if dead:
                if (place / ASIDE).exists() and not os.path.lexists(target):
                    (place / ASIDE).rename(target)
                if (place / STAMP).exists() and not (place / "new").exists() and target.is_file():
                    (place / STAMP).replace(stamp_file(target))
                _remove(place)


def sync(directory: Path) -> None:
    """Writes out a directory and all that is in it."""
    with ThreadPoolExecutor(_SYNCS) as pool:  # a disk takes many at once faster than one after the other
        list(pool.map(sync_one, directory.rglob("*")))
    sync_one(directory)


def sync_one(path: Path) -> None:
    """Writes out one file or directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _made(target: Path) -> tuple[Path, int]:
    """A new directory, and the descriptor of its lock."""
    while True:
        place = target.with_name(f"{_prefix(target)}{secrets.token_hex(4)}")
        place.mkdir()
        try:
            lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:  # Who clears up takes an empty directory for one that was left.
            continue
        if not hold(lock):
            (place / _LOCK).unlink()  # Whether it is in use is then told by its age.
            return place, lock
        os.write(lock, _kernel())
        if (place / _LOCK).exists():
            return place, lock
        os.close(lock)  # It was held by who clears up, and is gone.


def _prefix(target: Path) -> str:
    return f".{target.name}.last-stage-"


@contextlib.contextmanager
def _left(place: Path) -> Iterator[bool]:
    """Whether the writer of a directory is dead; no other clears it within the block."""
    lock = place / _LOCK
    if not lock.exists():
        try:
            place.rmdir()  # It is empty where the writer had just begun, or had removed all else.
            yield False
        except OSError:
            yield all(is_old(entry) for entry in (place, *place.rglob("*")))
        return
    with left(lock) as free:
        # A lock of another host may not reach here.
        yield free and (lock.read_bytes() in (b"", _kernel()) or is_old(lock))


def _kernel() -> bytes:
    """What the containers of one host have in common."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return os.uname().nodename.encode()


def _remove(place: Path) -> None:
    """Removes a directory in which writes that had begun may still come to their end; its lock goes last."""
    for _ in range(100):
        for entry in place.iterdir() if place.is_dir() else ():
            if entry.name != _LOCK:
                _delete(entry)
        with contextlib.suppress(OSError):
            if len(list(place.iterdir())) <= 1:
                (place / _LOCK).unlink(missing_ok=True)
            place.rmdir()
        if not place.exists():
            return
        time.sleep(0.02)


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        for directory, _, _ in os.walk(entry):
            with contextlib.suppress(OSError):
                Path(directory).chmod(0o700)  # A directory without write permission keeps what is in it.
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            entry.unlink()
