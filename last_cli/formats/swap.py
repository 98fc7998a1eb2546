"""One name for another: a rename that replaces nothing, and one that swaps old and new in one step."""

import ctypes
import errno
import os
import stat
from pathlib import Path

_HERE = -100  # AT_FDCWD
_NOREPLACE, _EXCHANGE = 1, 2

# What a kernel or a file system answers that does not know these renames.
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


def put(new: Path, target: Path) -> None:
    """Renames a file or a directory that is not empty to a name that nothing has yet.

    Raises:
        FileExistsError: something has it; all is as it was.
        OSError: it cannot be renamed; all is as it was.
    """
    try:
        if _renamed(new, target, _NOREPLACE):
            return
        if new.is_dir():
            new.rename(target)  # No directory takes the place of a file, or of a directory that is not empty.
        else:
            os.link(new, target)
            new.unlink()
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target)) from error


def exchange(new: Path, target: Path, aside: Path) -> None:
    """Puts a directory in the place of another, which then has the name of the new one, or `aside`.

    Args:
        new: the directory that takes the place.
        target: the one that is there.
        aside: where it goes on a system that cannot swap the two at once. Until the new one is there, there is none.

    Raises:
        OSError: it cannot be done; all is as it was.
    """
    _own(target)
    if _renamed(new, target, _EXCHANGE):
        return
    target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        aside.rename(target)
        raise


def _renamed(new: Path, target: Path, how: int) -> bool:
    """Whether the system knows such a rename, which then is done."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if rename(_HERE, os.fsencode(new), _HERE, os.fsencode(target), how) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNKNOWN:
        return False
    raise OSError(code, os.strerror(code), os.fspath(new), None, os.fspath(target))


def _own(directory: Path) -> None:
    """A directory without write permission of its owner does not move to another parent."""
    mode = directory.stat().st_mode
    if not mode & stat.S_IWUSR:
        directory.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
