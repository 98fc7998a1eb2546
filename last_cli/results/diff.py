"""What `last diff` finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Record, Result
from last_cli.results.source import Source


@dataclass(frozen=True, repr=False)
class LayerDiff(Record):
    """One layer in both; pairs are of the first and the second, null where one of them lacks it.

    Attributes:
        name: of the layer.
        states: live units of the usual kind.
        hinf: their median H-infinity norms; null where they are no states of a linear system.
        equal: whether the layer's arrays are the same, bit by bit.
    """

    name: str
    states: tuple[int | None, int | None]
    hinf: tuple[float | None, float | None]
    equal: bool


@dataclass(frozen=True, repr=False)
class DiffReport(Result):
    """What `last diff` shows; pairs are of the first and the second.

    Attributes:
        checkpoint: the first.
        other: the second.
        parameters: numbers in the models' parameters.
        layers: a row for each layer of either.
        config: the options that differ.
        leaves: other arrays that differ.
    """

    command = "diff"
    headline = ("checkpoint", "other", "same")
    json_keys = ("checkpoint", "other", "same", "parameters", "layers", "config", "leaves")

    checkpoint: Source
    other: Source
    parameters: tuple[int, int]
    layers: Sequence[LayerDiff]
    config: dict[str, tuple[Any, Any]]
    leaves: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.config and not self.leaves and all(layer.equal for layer in self.layers)
