"""What `last score` finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from last_cli.base.annotations import Bool, Float
from last_cli.results.source import Json, Source, head


@dataclass(frozen=True)
class Norms:
    """Norms of one layer's states, arrays (G, N).

    Attributes:
        hinf: H-infinity norm of each state (not squared).
        gains: upper bound of each state's gain; see system.state_gains.
        abs_lambda: |lam| of each state.
        poles: discretised poles, complex.
    """

    hinf: Float[np.ndarray, "G N"]
    gains: Float[np.ndarray, "G N"]
    abs_lambda: Float[np.ndarray, "G N"]
    poles: np.ndarray


@dataclass(frozen=True)
class LayerScore:
    """Norms and scores of one layer; arrays are (G, N), with the padding left out by `live`.

    Attributes:
        score: by the chosen criterion.
        norms: of the states; None where the layer is no linear system.
        keep: which units stay at the asked ratio; None where none was asked.
        flat: units are numbered through all groups.
    """

    name: str
    features: int
    directions: int
    live: Bool[np.ndarray, "G N"]
    score: Float[np.ndarray, "G N"]
    norms: Norms | None = None
    keep: Bool[np.ndarray, "G N"] | None = None
    flat: bool = False

    @property
    def states(self) -> int:
        """Live states."""
        return int(self.live.sum())

    @property
    def kept(self) -> int | None:
        """States that stay at the asked ratio."""
        return None if self.keep is None else int(self.keep.sum())

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What there is to say of each unit, (G, N) by its JSON key."""
        norms = self.norms
        hinf, decay = ({}, {}) if norms is None else ({"hinf": norms.hinf}, {"abs_lambda": norms.abs_lambda})
        return hinf | {"score": self.score} | decay | ({} if self.keep is None else {"keep": self.keep})

    def spread(self, values: np.ndarray) -> Json:
        """Minimum, median and maximum over the live states."""
        live = values[self.live]
        if not live.size:
            return {"min": 0.0, "median": 0.0, "max": 0.0}
        return {"min": float(live.min()), "median": float(np.median(live)), "max": float(live.max())}

    def as_json(self, per_state: bool, per_unit: bool = False) -> Json:
        """One entry of `layers` of last.score/1."""
        layer: Json = {
            "name": self.name,
            "states": self.states,
            "stored": self.live.shape[1],
            "features": self.features,
            "directions": self.directions,
        }
        if self.norms is not None:
            layer["hinf"] = self.spread(self.norms.hinf)
        layer["score"] = self.spread(self.score)
        if self.norms is not None:
            layer["max_abs_lambda"] = self.norms.abs_lambda[self.live].max(initial=0.0).item()
        if self.keep is not None:
            layer["kept"] = self.kept
        if per_state:
            layer["per_state"] = {name: self._by_state(column) for name, column in self.columns.items()}
        if per_unit:
            layer["per_unit"] = {name: self._by_unit(column) for name, column in self.columns.items()}
        return layer

    def _by_unit(self, values: np.ndarray) -> list[Any]:
        """In the units' own shape, those that are not live too."""
        return (values.ravel() if self.flat else values).tolist()

    def _by_state(self, values: np.ndarray) -> list[Any]:
        rows = [row[live].tolist() for row, live in zip(values, self.live, strict=True)]
        return rows[0] if len(rows) == 1 else rows


@dataclass(frozen=True)
class ScoreReport:
    """What `last score` shows.

    Attributes:
        needed: what the criterion was given: `horizon`, or `calibration`.
        target: what the units are.
    """

    checkpoint: Source
    family: str
    criterion: str
    assumed: Mapping[str, Any]
    layers: Sequence[LayerScore]
    ratio: float | None = None
    warnings: Sequence[str] = ()
    needed: Mapping[str, Any] = field(default_factory=dict)
    target: str = "states"

    @property
    def states(self) -> int:
        """Live units of all layers."""
        return sum(layer.states for layer in self.layers)

    def as_json(self, per_state: bool = False, per_unit: bool = False) -> Json:
        """last.score/1."""
        report = head("last.score/1", self.checkpoint) | {
            "family": self.family,
            "criterion": self.criterion,
            "assumed": dict(self.assumed),
            "layers": [layer.as_json(per_state, per_unit) for layer in self.layers],
            "states": self.states,
        }
        if self.target != "states" or per_unit or any(layer.norms is None for layer in self.layers):
            report |= {"target": self.target, "units": self.states}
        if self.ratio is not None:
            report |= {"ratio": self.ratio, "kept": sum(layer.kept or 0 for layer in self.layers)}
        return report | dict(self.needed) | {"warnings": list(self.warnings)}
