"""What `last score` finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from last_cli.base.annotations import Bool, Float
from last_cli.base.record import Record, Result, Spread, as_read
from last_cli.results.source import Json, Source


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


@dataclass(frozen=True, repr=False)
class LayerScore(Record):
    """Norms and scores of one layer; arrays are (G, N), with the padding left out by `live`.

    Attributes:
        name: its path in the tree.
        features: inputs of all groups together.
        directions: 2 where it runs over the sequence both ways.
        live: which units are no padding.
        scores: by the chosen criterion.
        norms: of the states; None where the layer is no linear system.
        keep: which units stay at the asked ratio; None where none was asked.
        flat: units are numbered through all groups.
    """

    json_keys = (
        "name", "states", "stored", "features", "directions", "hinf", "score", "max_abs_lambda", "kept", "per_state",
        "per_unit",
    )  # fmt: skip
    json_optional = ("hinf", "max_abs_lambda", "kept", "per_state", "per_unit")

    name: str
    features: int
    directions: int
    live: Bool[np.ndarray, "G N"]
    scores: Float[np.ndarray, "G N"]
    norms: Norms | None = None
    keep: Bool[np.ndarray, "G N"] | None = None
    flat: bool = False

    @property
    def states(self) -> int:
        """Live states."""
        return int(self.live.sum())

    @property
    def stored(self) -> int:
        """States stored per group, padding included."""
        return self.live.shape[1]

    @property
    def kept(self) -> int | None:
        """States that stay at the asked ratio; absent where none was asked."""
        return None if self.keep is None else int(self.keep.sum())

    @property
    def hinf(self) -> Spread | None:
        """H-infinity norms of the states, not squared; absent where the layer is no linear system."""
        return None if self.norms is None else self.spread(self.norms.hinf)

    @property
    def score(self) -> Spread:
        """Scores of the states."""
        return self.spread(self.scores)

    @property
    def max_abs_lambda(self) -> float | None:
        """The largest |lam|; absent where the layer is no linear system."""
        return None if self.norms is None else self.norms.abs_lambda[self.live].max(initial=0.0).item()

    @property
    def per_state(self) -> dict[str, list[Any]]:
        """Columns (hinf, score, abs_lambda, keep) in the layer's own order, by channel where there are several."""
        return {name: self._by_state(column) for name, column in self.columns.items()}

    @property
    def per_unit(self) -> dict[str, list[Any]]:
        """The same columns in the units' own shape, those that are not live too."""
        return {name: (c.ravel() if self.flat else c).tolist() for name, c in self.columns.items()}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What there is to say of each unit, (G, N) by its JSON key."""
        norms = self.norms
        hinf, decay = ({}, {}) if norms is None else ({"hinf": norms.hinf}, {"abs_lambda": norms.abs_lambda})
        return hinf | {"score": self.scores} | decay | ({} if self.keep is None else {"keep": self.keep})

    def spread(self, values: np.ndarray) -> Spread:
        """Minimum, median and maximum over the live states."""
        live = values[self.live]
        if not live.size:
            return Spread(0.0, 0.0, 0.0)
        return Spread(float(live.min()), float(np.median(live)), float(live.max()))

    def as_json(self, per_state: bool = False, per_unit: bool = False) -> Json:
        """One entry of `layers` of last.score/1."""
        left_out = {"per_state": not per_state, "per_unit": not per_unit}
        return {key: value for key, value in super().as_json().items() if not left_out.get(key)}

    def _by_state(self, values: np.ndarray) -> list[Any]:
        rows = [row[live].tolist() for row, live in zip(values, self.live, strict=True)]
        return rows[0] if len(rows) == 1 else rows


@dataclass(frozen=True, repr=False)
class ScoreReport(Result):
    """What `last score` shows.

    Attributes:
        checkpoint: what was scored.
        family: the kind of its SSM layers.
        criterion: how units were scored.
        assumed: what nothing but our assumption decides.
        layers: the SSM layers.
        ratio: share of the units that would go; absent where none was asked.
        warnings: what is odd about it.
        needed: what the criterion was given: `horizon`, or `calibration`.
        target: what the units are; absent where they are the states of linear systems.
    """

    command = "score"
    headline = ("checkpoint", "criterion", "states", "ratio", "kept")
    json_keys = (
        "checkpoint", "family", "criterion", "assumed", "layers", "states", "target", "units", "ratio", "kept",
        "warnings",
    )  # fmt: skip
    json_optional = ("target", "units", "ratio", "kept")
    json_open = ("needed",)

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

    @property
    def units(self) -> int:
        """The same."""
        return self.states

    @property
    def kept(self) -> int | None:
        """Units that stay; absent where no ratio was asked."""
        return None if self.ratio is None else sum(layer.kept or 0 for layer in self.layers)

    def as_json(self, per_state: bool = False, per_unit: bool = False) -> Json:
        """last.score/1, with the states or units of each layer where they are asked for."""
        named = self.target != "states" or per_unit or any(layer.norms is None for layer in self.layers)
        left_out = () if named else ("target", "units")
        report = {key: value for key, value in super().as_json().items() if key not in left_out}
        return report | {"layers": [layer.as_json(per_state, per_unit) for layer in self.layers]}

    def to_dict(self, per_state: bool = False, per_unit: bool = False) -> Json:
        """The object that the command prints as JSON: infinities are None.

        Args:
            per_state: with all states of each layer.
            per_unit: with all units, in their own shape.
        """
        return as_read(self.as_json(per_state, per_unit))
