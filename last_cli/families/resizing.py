"""What a pruning changes besides what it cuts: sizes in files, and numbers that depend on how many units are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from last_cli.formats.format import Settings
from last_cli.formats.types import Key, Leaf, dtype_of


@dataclass(frozen=True)
class Rescale:
    """What becomes of an array: times a factor, in double precision, then in the dtype of this name or in its own."""

    factor: float
    dtype: str | None = None

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The array afterwards."""
        return (array.astype(np.float64) * self.factor).astype(dtype_of(self.dtype) if self.dtype else array.dtype)


@dataclass(frozen=True)
class Shrinking:
    """A pruning, as a family is told of it.

    Attributes:
        files: configuration files, named as in Index.config.
        layers: of the family.
        target: what the units are.
        counts: how many of them each group of each layer is stored with.
        leaves: of the whole tree.
        stock: stock classes are to load the result.
    """

    files: Mapping[str, Any]
    layers: Sequence[Any]
    target: str
    counts: Sequence[int]
    leaves: Mapping[Key, Leaf]
    stock: bool = False


@dataclass(frozen=True)
class Resizing:
    """What changes beside a tree, and in it so that compacted and masked give the same.

    Attributes:
        sizes: new values in configuration files.
        arrays: what is rescaled, by key.
        settings: new values in configuration files that belong to it.
        inexact: why compacted and masked differ all the same, in words; "" where they do not.
    """

    sizes: Settings = field(default_factory=dict)
    arrays: Mapping[Key, Rescale] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    inexact: str = ""

    def rescaled(self) -> dict[str, Any]:
        """What is rescaled, for stamps and reports: arrays by what becomes of them, values by their place."""
        kinds: dict[Rescale, list[str]] = {}
        for key, rescale in self.arrays.items():
            kinds.setdefault(rescale, []).append("/".join(key))
        arrays = [
            {"factor": kind.factor, **({"dtype": kind.dtype} if kind.dtype else {}), "arrays": names}
            for kind, names in kinds.items()
        ]
        settings = {
            file: {".".join(path): value for path, value in values.items()} for file, values in self.settings.items()
        }
        found = {"arrays": arrays, "settings": settings} if arrays or settings else {}
        return found | ({"inexact": self.inexact} if self.inexact else {})
