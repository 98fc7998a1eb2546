"""What a model is in a class of another library that computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from last_cli.formats import Key


@dataclass(frozen=True)
class Stock:
    """A model under the names of another library.

    Attributes:
        name: of the class.
        config: what its config.json says, but for the type of the numbers.
        tensors: the leaf of each tensor, by its name there.
        equal: two leaves of which one is left out; both must hold the same numbers.
        warnings: what does not hold for every version of the library.
    """

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Key]
    equal: tuple[Key, Key] | None = None
    warnings: tuple[str, ...] = ()
