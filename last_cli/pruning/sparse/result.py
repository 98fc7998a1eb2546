"""Zeros on their way into a checkpoint: what was chosen is kept as bits, new values in a file, and arrays made of them.

A model's new arrays may take more memory than there is, so each is made when it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from last_cli.base.annotations import Shaped
from last_cli.formats import Key
from last_cli.pruning.cut import Read
from last_cli.pruning.sparse.chosen import Chosen


@dataclass(frozen=True, eq=False)
class Zeros:
    """What became of one array.

    Attributes:
        removed: which weights went, as bits.
        place: where its new values are in the file, in the array's own type; None where the others stay.
    """

    removed: np.ndarray
    place: int | None = None


@dataclass(frozen=True)
class Counted:
    """What an array holds, for report and stamp.

    Attributes:
        tensor: its path.
        weights, zeros: how many numbers, and how many of them are 0.
        digest: of which are 0, see `zeros_digest`.
    """

    tensor: str
    weights: int
    zeros: int
    digest: str

    def as_json(self) -> dict[str, Any]:
        """An entry of `weights`."""
        return {"tensor": self.tensor, "weights": self.weights, "zeros": self.zeros, "digest": self.digest}


@dataclass(frozen=True, eq=False)
class Sparse(Mapping[Key, np.ndarray]):
    """New arrays by key, made when they are asked for."""

    read: Read
    found: dict[Key, Zeros] = field(default_factory=dict)
    file: IO[bytes] = field(default_factory=tempfile.TemporaryFile, repr=False)

    def add(self, key: Key, stored: Shaped[np.ndarray, "rows columns"], chosen: Chosen) -> np.ndarray:
        """The new array, in the type of the one that is stored; kept values stay bit-equal where none are new."""
        place, new = None, stored
        if chosen.weight is not None:
            new = np.where(chosen.removed, stored, chosen.weight.astype(stored.dtype))
            place = self.file.seek(0, os.SEEK_END)
            self.file.write(new.tobytes())
            self.file.flush()
        self.found[key] = Zeros(np.packbits(chosen.removed), place)
        return _without(new, chosen.removed)

    def __getitem__(self, key: Key) -> np.ndarray:
        found, stored = self.found[key], self.read([key])[key]
        removed = np.unpackbits(found.removed, count=stored.size).astype(bool).reshape(stored.shape)
        if found.place is not None:
            data = os.pread(self.file.fileno(), stored.nbytes, found.place)
            stored = np.frombuffer(data, stored.dtype).reshape(stored.shape)
        return _without(stored, removed)

    def __iter__(self) -> Iterator[Key]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def counted(key: Key, array: np.ndarray) -> Counted:
    """What an array holds."""
    zero = array == 0
    return Counted("/".join(key), array.size, int(zero.sum()), zeros_digest(zero))


def zeros_digest(zero: np.ndarray) -> str:
    """SHA-256 over which numbers of an array are 0, a bit each, row by row."""
    return f"sha256:{hashlib.sha256(np.packbits(zero).tobytes()).hexdigest()}"


def _without(array: np.ndarray, removed: np.ndarray) -> np.ndarray:
    return np.where(removed, np.zeros((), array.dtype), array)
