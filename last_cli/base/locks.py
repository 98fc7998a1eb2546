"""Locks on files, by which what a living process still writes is told from what a dead one left.

The lock on a file ends with the process that holds it, however that ends and in whichever container it runs.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

STALE = 86400.0
"""Seconds after which nothing is written any more, where locks do not tell."""


def hold(file: int) -> bool:
    """Locks an open file, until it is closed; waits for whoever has it locked.

    Args:
        file: its descriptor, open for writing.

    Returns:
        Whether this file system has locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def left(path: Path) -> Iterator[bool]:
    """Whether nobody holds a file; if so it is held within the block. Without locks, whether it is old.

    Args:
        path: the file; where there is none, nothing was left.
    """
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        yield False
        return
    try:
        yield _is_free(file, path)
    finally:
        os.close(file)


def is_old(path: Path) -> bool:
    """Whether a file or directory has long been as it is."""
    try:
        return time.time() - path.lstat().st_mtime > STALE
    except OSError:
        return False


def _is_free(file: int, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), path.stat())  # Another may have removed it, and a third made it anew.
    except BlockingIOError:
        return False
    except OSError:
        return is_old(path)
