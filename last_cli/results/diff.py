"""What `last diff` finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from last_cli.base.version import __version__
from last_cli.results.source import Json, Source


@dataclass(frozen=True)
class LayerDiff:
    """One layer in both; None where one of them lacks it.

    `states` are the live units of the usual kind, `hinf` their median norms; None where they are no states of a System.
    `equal` says that the layer's arrays are the same, bit by bit.
    """

    name: str
    states: tuple[int | None, int | None]
    hinf: tuple[float | None, float | None]
    equal: bool


@dataclass(frozen=True)
class DiffReport:
    """What `last diff` shows; `config` holds the options that differ, `leaves` other arrays that do."""

    one: Source
    other: Source
    parameters: tuple[int, int]
    layers: Sequence[LayerDiff]
    config: dict[str, tuple[Any, Any]]
    leaves: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.config and not self.leaves and all(layer.equal for layer in self.layers)

    def as_json(self) -> Json:
        """last.diff/1; pairs are (first, second)."""
        return {
            "schema": "last.diff/1",
            "last": __version__,
            "checkpoint": self.one.as_json(),
            "other": self.other.as_json(),
            "same": self.same,
            "parameters": list(self.parameters),
            "layers": [asdict(layer) for layer in self.layers],
            "config": {name: list(pair) for name, pair in self.config.items()},
            "leaves": list(self.leaves),
        }
