"""What `last prune` did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from last_cli.results.search import Search
from last_cli.results.source import Json, Source, head


@dataclass(frozen=True)
class LayerPrune:
    """One layer before and after.

    Attributes:
        before, after: live states.
        stored: states per system in the arrays, padding included.
        removed_hinf: sum of the removed states' H-infinity norms, as `last score` reports them; None where new states
            took the place of the old ones.
        gain_bound: upper bound of the H-infinity norm of what was removed: the same sum with the factor of conjugate
            pairs and all readouts in it. A worst case over all inputs, no prediction.
        smallest_kept_score: by the criterion; None under criteria that could keep nothing.
    """

    name: str
    before: int
    after: int
    stored: int
    removed_hinf: float | None
    gain_bound: float
    smallest_kept_score: float | None

    def as_json(self) -> Json:
        """One entry of `layers` of last.prune/1."""
        return {
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "stored": self.stored,
            "removed_hinf": self.removed_hinf,
            "gain_bound": self.gain_bound,
            "smallest_kept_score": self.smallest_kept_score,
        }


@dataclass(frozen=True)
class PruneReport:
    """What `last prune` shows. Sizes are (before, after); bytes are those of all arrays in the checkpoint.

    `needed` is what the criterion was given: `horizon`, or `calibration`.
    """

    checkpoint: Source
    family: str
    criterion: str
    ratio: float
    scope: str
    shape: str
    seed: int
    assumed: Mapping[str, Any]
    layers: Sequence[LayerPrune]
    parameters: tuple[int, int]
    bytes: tuple[int, int]
    sliced_copies: int = 0
    masked: bool = False
    warnings: Sequence[str] = ()
    needed: Mapping[str, Any] = field(default_factory=dict)
    search: Search | None = None

    @property
    def measured_columns(self) -> list[str]:
        """Headings of what was measured of each layer beyond cutting; none here."""
        return []

    @property
    def measured_rows(self) -> list[list[float | None]]:
        """What was measured of each layer, under these headings."""
        return []

    @property
    def measured_notes(self) -> list[str]:
        """What the headings mean, in lines."""
        return []

    @property
    def states(self) -> tuple[int, int]:
        """Live states of all layers, before and after."""
        return sum(layer.before for layer in self.layers), sum(layer.after for layer in self.layers)

    def as_json(self, output: str | None) -> Json:
        """last.prune/1; `output` is null on a dry run."""
        return head("last.prune/1", self.checkpoint) | {
            "output": output,
            "family": self.family,
            "ratio": self.ratio,
            "criterion": self.criterion,
            "scope": self.scope,
            "shape": self.shape,
            "masked": self.masked,
            "seed": self.seed,
            "assumed": dict(self.assumed),
            "states": _before_after(self.states),
            "parameters": _before_after(self.parameters),
            "bytes": _before_after(self.bytes),
            "layers": [layer.as_json() for layer in self.layers],
            **self.needed,
            "warnings": list(self.warnings),
            **({"search": self.search.as_json()} if self.search else {}),
        }


def _before_after(sizes: tuple[int, int]) -> Json:
    return {"before": sizes[0], "after": sizes[1]}
