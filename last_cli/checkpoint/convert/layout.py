"""What a layout of SSM parameters in a PyTorch file is: names and roles, and functions to our leaves and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from last_cli.base.annotations import Shaped

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]


@dataclass(frozen=True)
class Converted:
    """A layer as our family has it.

    Attributes:
        leaves: by leaf name.
        copies: originals that cannot be computed back, by a name of their own: the leaf that each follows, of the same
            shape, so that it is pruned with it, and the array.
        holds: role -> names of the leaves that hold it.
        notes: role -> what was done to it.
        model: entries of ModelConfig that the layout decides.
        assumed: what the file does not say, and what was taken for it.
    """

    leaves: Arrays
    holds: Mapping[str, tuple[str, ...]]
    copies: Mapping[str, tuple[str, Shaped[np.ndarray, "..."]]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of a tensor as it was in the file."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_complex(self) -> bool:
        """Whether it was complex, not pairs of real numbers."""
        return self.dtype.startswith("complex")


@dataclass(frozen=True)
class Layout:
    """A layout.

    Attributes:
        name: what a key map calls it.
        roles: the file's name of a parameter -> its role here.
        optional: roles that may be missing.
        to_leaves: names and arrays by role, and options -> the layer. Raises CheckpointError, naming the tensor.
        to_source: names, leaves, copies, specs by role, options -> arrays as the file had them and notes, by role.
    """

    name: str
    roles: Mapping[str, str]
    optional: frozenset[str]
    to_leaves: Callable[[Mapping[str, str], Arrays, Mapping[str, str]], Converted]
    to_source: Callable[
        [Mapping[str, str], Arrays, Arrays, Mapping[str, Spec], Mapping[str, str]],
        tuple[dict[str, Shaped[np.ndarray, "..."]], dict[str, str]],
    ]


def real_dtype(dtype: np.dtype | str) -> np.dtype:
    """The type of the parts of a complex number; other types stay as they are."""
    dtype = np.dtype(dtype)
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def as_pairs(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Complex (...) -> real and imaginary parts (..., 2), bit by bit; real numbers, pairs or not, stay as they are."""
    if not np.iscomplexobj(array):
        return array
    return np.ascontiguousarray(array)[..., None].view(real_dtype(array.dtype))


def as_stored(pairs: Shaped[np.ndarray, "... 2"], spec: Spec) -> Shaped[np.ndarray, "..."]:
    """The inverse: complex where the file had complex numbers."""
    return np.ascontiguousarray(pairs).view(spec.dtype)[..., 0] if spec.is_complex else pairs
