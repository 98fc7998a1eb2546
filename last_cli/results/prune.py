"""What `last prune` did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from last_cli.results.search import Search
from last_cli.results.source import Json, Source, head
from last_cli.results.tune import TuneReport


@dataclass(frozen=True)
class LayerPrune:
    """One layer before and after.

    Attributes:
        before, after: live units.
        stored: units per group in the arrays, padding included.
        groups: independent systems of the layer, such as the channels of S4D.
        removed_hinf: sum of the removed states' H-infinity norms, as `last score` reports them; None where new states
            took the place of the old ones, and where a layer is no linear system.
        gain_bound: upper bound of the H-infinity norm of what was removed: the same sum with the factor of conjugate
            pairs and all readouts in it. A worst case over all inputs, no prediction.
        smallest_kept_score: by the criterion; None under criteria that could keep nothing.
    """

    name: str
    before: int
    after: int
    stored: int
    groups: int
    removed_hinf: float | None
    gain_bound: float | None
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
class Difference:
    """What a change of kept states, beyond cutting, did to one layer.

    Attributes:
        hinf: H-infinity norm of the difference, between these two numbers: no input of whatever kind is amplified to
            more than the larger one. A guarantee for the worst case, and no prediction.
        h2: relative error of the output for white inputs, as root mean squares. A predictor.
        calibration: the same on the calibration inputs; the best predictor. None where there were none.
        growth: norm of the kept states' C over what it was: far above 1, errors cancel that need not elsewhere. None
            where the poles are new, and no state is one of the old.
    """

    hinf: tuple[float, float]
    h2: float
    calibration: float | None = None
    growth: float | None = None

    def as_json(self) -> Json:
        """More keys of an entry of `layers` of last.prune/1."""
        found = {"difference_hinf": {"lower": self.hinf[0], "upper": self.hinf[1]}, "h2_relative": self.h2}
        old_poles = {"calibration_relative": self.calibration, "readout_growth": self.growth}
        return found | (old_poles if self.growth is not None else {})


@dataclass(frozen=True)
class PruneReport:
    """What `last prune` shows. Sizes are (before, after); bytes are those of all arrays in the checkpoint.

    Attributes:
        criterion: what chose the units: a criterion, or a method that chooses by itself.
        sliced_copies: arrays that follow the parameters, such as optimizer moments, and were cut with them.
        needed: what the criterion was given: `horizon`, or `calibration`.
        search: how the ratio was found, where a budget was given.
        method: "criterion", or what changed kept units too: "reconstruct", "refit" or "balanced".
        calibration: where the inputs come from that C was refitted on, with their digest; empty where it was not.
        settings: every number that the refit depends on.
        reused: sequences whose measurement an earlier run has left in the cache.
        differences: of the layers, in their order, where kept units changed; empty where they were not asked for.
        meaning: what the numbers of such a change are, by their JSON keys.
        target: what the units are.
        memory: bytes that a sequence needs from step to step, before and after, in the type of the arrays; None where
            a layer does not say.
        loads: behind this word, what loads the output besides `last`; None where nothing is known to.
        changes: roles of the leaves to which the method gave other values in kept units; see families.target.
        rescaled: what changed besides, so that what is left gives what the masked model gives: `arrays`, each with its
            `factor`, `settings` in files, and `inexact`, where that is not the same.
        zeros: of pruned weights: `modules`, `pattern`, and of each array in `weights` how many it has, and are 0.
        tuned: what tuning did afterwards; None where nothing was tuned.
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
    method: str = "criterion"
    calibration: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    reused: int = 0
    differences: Sequence[Difference] = ()
    meaning: Mapping[str, str] = field(default_factory=dict)
    target: str = "states"
    changes: Sequence[str] = ()
    memory: tuple[int, int] | None = None
    rescaled: Mapping[str, Any] = field(default_factory=dict)
    loads: str | None = None
    zeros: Mapping[str, Any] = field(default_factory=dict)
    tuned: TuneReport | None = None

    @property
    def states(self) -> tuple[int, int]:
        """Live units of all layers, before and after."""
        return sum(layer.before for layer in self.layers), sum(layer.after for layer in self.layers)

    def as_json(self, output: str | None) -> Json:
        """last.prune/1; `output` is null on a dry run."""
        layers = [layer.as_json() for layer in self.layers]
        if self.differences:
            layers = [a | d.as_json() for a, d in zip(layers, self.differences, strict=True)]
        return head("last.prune/1", self.checkpoint) | {
            "output": output,
            "family": self.family,
            "ratio": self.ratio,
            "criterion": self.criterion,
            **({} if self.target == "states" else {"target": self.target}),
            "scope": self.scope,
            "shape": self.shape,
            "masked": self.masked,
            "seed": self.seed,
            "assumed": dict(self.assumed),
            "states": _before_after(self.states),
            "parameters": _before_after(self.parameters),
            "bytes": _before_after(self.bytes),
            **({"state_bytes": _before_after(self.memory)} if self.memory else {}),
            **({"loads": self.loads} if self.loads else {}),
            "layers": layers,
            **self.needed,
            **({"zeros": dict(self.zeros)} if self.zeros else {}),
            "warnings": list(self.warnings),
            **({"rescaled": dict(self.rescaled)} if self.rescaled else {}),
            **({"search": self.search.as_json()} if self.search else {}),
            **({"tuned": self.tuned.said()} if self.tuned else {}),
            **self._change(),
        }

    def _change(self) -> Json:
        """The keys of a method that changes kept units."""
        if self.method == "criterion":
            return {}
        refit = {"calibration": dict(self.calibration), "settings": dict(self.settings)} if self.calibration else {}
        return {"method": self.method, **refit, "meaning": dict(self.meaning)}


def _before_after(sizes: tuple[int, int]) -> Json:
    return {"before": sizes[0], "after": sizes[1]}
