"""Arrays that need not be in memory: rows that are read, and made what a model takes, when they are asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from last_cli.base.annotations import Int
from last_cli.base.files import read_header, regular

BLOCK = 2**20  # bytes, about


@dataclass(frozen=True, eq=False)
class Rows:
    """Sequences, to be indexed by their rows as an array is; each indexing reads them anew.

    `numpy.asarray` makes all of them.

    Attributes:
        read: makes the rows of these numbers.
        shape: of the array that they are like.
        dtype: likewise.
    """

    read: Callable[[Int[np.ndarray, " k"]], np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, stored: np.ndarray | Stored, decode: Callable[[np.ndarray], np.ndarray]) -> Rows:
        """The rows of an array.

        Args:
            stored: the array, in memory or on disk.
            decode: what every batch of its rows is put through; it keeps their number.
        """
        example = decode(stored[:1])
        return cls(lambda rows: decode(stored[rows]), (stored.shape[0], *example.shape[1:]), example.dtype)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, *rest = index if isinstance(index, tuple) else (index,)
        if rows is ...:
            return np.asarray(self)[index]
        chosen = np.arange(len(self))[rows]
        found = self.read(chosen.reshape(-1)) if chosen.size else np.zeros(0, self.dtype)
        found = found.reshape(*chosen.shape, *self.shape[1:])
        return found[(slice(None),) * chosen.ndim + tuple(rest)] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read(np.arange(len(self))).astype(dtype or self.dtype, copy=False)

    def head(self, count: int) -> Rows:
        """The first so many."""
        return replace(self, shape=(min(count, len(self)), *self.shape[1:]))


@dataclass(frozen=True, eq=False)
class Stored:
    """An array in an open file, of which an indexing reads what it needs; the file may be removed meanwhile.

    Attributes:
        file: holds it row by row.
        offset: of its first number, in bytes.
        shape: of the array.
        dtype: of its numbers.
    """

    file: BinaryIO
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if not self.size:
            return np.zeros(self.shape, self.dtype)[index]
        if isinstance(index, slice) and index.step in (None, 1):
            first, last, _ = index.indices(len(self))
            row = self.size // len(self)
            self.file.seek(self.offset + first * row * self.dtype.itemsize)
            found = np.fromfile(self.file, self.dtype, max(last - first, 0) * row)
            return found.reshape(-1, *self.shape[1:])
        # Mapped for this moment alone, so that pages that were read are not counted to the process for ever.
        return np.array(np.memmap(self.file, self.dtype, "r", self.offset, self.shape)[index])


def blocks(array: np.ndarray | Rows | Stored) -> Iterator[np.ndarray]:
    """The array in parts of about a megabyte, along its first axis."""
    row = max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize)
    step = max(1, BLOCK // row)
    for first in range(0, array.shape[0], step):
        yield array[first : first + step]


def stored_in(path: Path, name: str) -> Stored | None:
    """The array of an .npz file, unread; None where it is compressed, or laid out otherwise than row by row.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: the file cannot be read, or its checksum is wrong.
    """
    with zipfile.ZipFile(regular(path)) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with archive.open(member) as content:
            shape, in_columns, dtype = read_header(content)
            start = content.tell()
            while content.read(BLOCK):  # to the end, where the checksum is compared
                pass
    if dtype.hasobject or (in_columns and len(shape) > 1):
        return None
    file = path.open("rb")
    file.seek(member.header_offset + 26)
    name_length, extra = np.frombuffer(file.read(4), "<u2").tolist()
    return Stored(file, member.header_offset + 30 + name_length + extra + start, shape, dtype)
