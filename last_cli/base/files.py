"""Files that come from elsewhere: opened only where they are files, and archives that hold what they claim."""

from __future__ import annotations

import errno
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import LastError

DEFLATE = 1100
"""So many bytes at most does deflate make of one; a little more than the 1032 that it can."""

EXPANDED = 2**26
"""Bytes that a tensor may claim which repeats fewer numbers."""

_AXES, _LARGEST = 64, 2**63
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def regular(path: Path | str) -> Path:
    """The path itself, for whoever opens it: a pipe or a device in the place of a file would wait, or never end.

    Raises:
        OSError: there is nothing, or something that is neither a file nor a directory.
    """
    try:
        mode = Path(path).stat().st_mode
    except ValueError as error:  # a zero byte, or what no file system spells
        raise OSError(errno.EINVAL, "no name of a file", str(path)) from error
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise OSError(errno.EINVAL, f"{kind}, expected a file", str(path))
    return Path(path)


def is_shape(shape: Sequence[int], itemsize: int = 1) -> bool:
    """Whether numpy has arrays of such a shape: one without elements may not have any sizes either."""
    return len(shape) <= _AXES and math.prod(size or 1 for size in shape) * itemsize < _LARGEST


def resolved(path: Path) -> Path:
    """Where a path leads, through all links; what is not there, or a ring of links, as far as it leads somewhere."""
    return Path(os.path.realpath(path))


def files_below(directory: Path) -> Iterator[str]:
    """All files below a directory, as paths from there; links to directories are not followed.

    Raises:
        OSError: something there is neither a file nor a directory, or cannot be read.
    """
    waiting = [("", os.fspath(directory))]
    while waiting:
        name, path = waiting.pop()
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{name}{entry.name}/", entry.path))
                elif entry.is_file():
                    yield name + entry.name
                elif not entry.is_symlink() or Path(entry.path).exists():
                    regular(entry.path)


@contextmanager
def open_npz(path: Path | str) -> Iterator[Any]:
    """An open .npz archive (numpy's NpzFile), whose arrays are no larger than their bytes can be.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such archive, or what the block reads of it is damaged.
    """
    try:
        path = regular(Path(path).expanduser())
        _check_archive(path)
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except (LastError, OSError, ValueError):
        raise
    except Exception as error:  # zip, header, checksum and decoder fail in many ways
        raise ValueError(str(error) or type(error).__name__) from error


def _check_archive(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(6)
    if head[:2] != b"PK":
        found = {b"": "an empty file", b"\x93NUMPY": "one array"}.get(head, "something else, or a part of one")
        raise ValueError(f"expected an archive of arrays, found {found}")
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _check_member(archive, member)


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if member.file_size > DEFLATE * (member.compress_size + 1):
        raise ValueError(f"{member.filename} claims {member.file_size:,} bytes in {member.compress_size:,}")
    with archive.open(member) as content:
        if content.read(6) != b"\x93NUMPY":
            raise ValueError(f"{member.filename} is no array")
    with archive.open(member) as content:
        shape, _, dtype = read_header(content)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} claims the shape {shape} in {member.file_size:,} bytes")


def read_header(content: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether by columns, and type of the array in an open .npy file."""
    version = np.lib.format.read_magic(content)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(content)
