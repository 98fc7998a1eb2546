"""What `last prune` did."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from last_cli.base.record import Record, Result, Sizes
from last_cli.results.search import Search
from last_cli.results.source import Source
from last_cli.results.tune import TuneReport


@dataclass(frozen=True, repr=False)
class LayerPrune(Record):
    """One layer before and after.

    Attributes:
        name: its path in the tree.
        before, after: live units.
        stored: units per group in the arrays, padding included.
        groups: independent systems of the layer, such as the channels of S4D.
        removed_hinf: sum of the removed states' H-infinity norms, as `last score` reports them; None where new states
            took the place of the old ones, and where a layer is no linear system.
        gain_bound: upper bound of the H-infinity norm of what was removed: the same sum with the factor of conjugate
            pairs and all readouts in it. A worst case over all inputs, no prediction.
        smallest_kept_score: by the criterion; None under criteria that could keep nothing.
    """

    json_keys = ("name", "before", "after", "stored", "removed_hinf", "gain_bound", "smallest_kept_score")

    name: str
    before: int
    after: int
    stored: int
    groups: int
    removed_hinf: float | None
    gain_bound: float | None
    smallest_kept_score: float | None


@dataclass(frozen=True, repr=False)
class Range(Record):
    """A number that lies between two others."""

    lower: float
    upper: float


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


@dataclass(frozen=True, repr=False)
class ChangedLayer(LayerPrune):
    """A layer whose kept units changed.

    Attributes:
        difference: what that did.
    """

    json_keys = (
        *LayerPrune.json_keys, "difference_hinf", "h2_relative", "calibration_relative", "readout_growth",
    )  # fmt: skip

    json_optional = ("calibration_relative", "readout_growth")

    difference: Difference

    @property
    def difference_hinf(self) -> Range:
        """The H-infinity norm of the difference lies between these."""
        return Range(*self.difference.hinf)

    @property
    def h2_relative(self) -> float:
        """Relative error of the output for white inputs, as root mean squares: a predictor, and no bound."""
        return self.difference.h2

    @property
    def calibration_relative(self) -> float | None:
        """The same on the calibration inputs; absent where the poles are new."""
        return self.difference.calibration

    @property
    def readout_growth(self) -> float | None:
        """Norm of the kept states' C over what it was; absent where the poles are new."""
        return self.difference.growth

    def _left_out(self) -> Collection[str]:
        return self.json_optional if self.readout_growth is None else ()


@dataclass(frozen=True, repr=False)
class OtherShape(Record):
    """What the same scores would give in the other shape.

    Attributes:
        shape: "ragged" where the pruning is rectangular, "rectangular" where it is ragged.
        states: live units that would stay.
        bytes: of all arrays in the checkpoint.
    """

    shape: str
    states: int
    bytes: int


@dataclass(frozen=True, repr=False)
class PruneReport(Result):
    """What `last prune` shows. Sizes are those before and after.

    Attributes:
        checkpoint: what was pruned.
        family: the kind of its SSM layers.
        criterion: what chose the units: a criterion, or a method that chooses by itself.
        ratio: share of the units that was to go.
        scope: "global" where all layers were ranked together, "layer" where each was alone.
        shape: "rectangular" where every channel of an S4D layer keeps as many states, "ragged" where they may differ.
        other_shape: what the other one would give; absent where layers are one group, or all shapes stayed.
        seed: of what is random.
        assumed: what nothing but our assumption decides.
        each: the layers, without what a change of kept units did to them.
        parameters: numbers in the model's parameters.
        bytes: of all arrays in the checkpoint.
        masked: whether all shapes stayed, and what goes is zero.
        warnings: what to know before using it.
        sliced_copies: arrays that follow the parameters, such as optimizer moments, and were cut with them.
        needed: what the criterion was given: `horizon`, or `calibration`.
        search: how the ratio was found, where a budget was given.
        method: "criterion", or what changed kept units too: "reconstruct", "refit" or "balanced".
        refitted_on: where the inputs come from that C was refitted on, with their digest; empty where it was not.
        settings: every number that the refit depends on.
        reused: sequences whose measurement an earlier run has left in the cache.
        differences: of the layers, in their order, where kept units changed; empty where they were not asked for.
        meaning: what the numbers of such a change are, by their JSON keys.
        target: what the units are.
        memory: bytes that a sequence needs from step to step, before and after, in the type of the arrays; None where
            a layer does not say.
        loads: behind this word, what loads the output besides `last`; None where nothing is known to.
        changes: roles of the leaves to which the method gave other values in kept units.
        rescaled: what changed besides, so that what is left gives what the masked model gives: `arrays`, each with its
            `factor`, `settings` in files, and `inexact`, where that is not the same.
        output: where it was written; null where it was not.
        fillable: zeros in the place of units that went change nothing.
        zeros: of pruned weights: `modules`, `pattern`, and of each array in `weights` how many it has, and are 0.
        tuned: what tuning did afterwards, where it did.
    """

    command = "prune"
    headline = ("checkpoint", "criterion", "ratio", "states")
    json_keys = (
        "checkpoint", "output", "family", "ratio", "criterion", "target", "scope", "shape", "masked", "seed", "assumed",
        "states", "parameters", "bytes", "other_shape", "state_bytes", "loads", "layers", "zeros", "warnings",
        "rescaled", "search", "tuned", "method", "calibration", "settings", "meaning",
    )  # fmt: skip
    json_optional = (
        "target", "other_shape", "state_bytes", "loads", "zeros", "rescaled", "search", "tuned", "method",
        "calibration", "settings", "meaning",
    )  # fmt: skip
    json_open = ("needed",)

    checkpoint: Source
    family: str
    criterion: str
    ratio: float
    scope: str
    shape: str
    seed: int
    assumed: Mapping[str, Any]
    each: Sequence[LayerPrune]
    parameters: Sizes
    bytes: Sizes
    sliced_copies: int = 0
    masked: bool = False
    warnings: Sequence[str] = ()
    needed: Mapping[str, Any] = field(default_factory=dict)
    search: Search | None = None
    method: str = "criterion"
    refitted_on: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    reused: int = 0
    differences: Sequence[Difference] = ()
    meaning: Mapping[str, str] = field(default_factory=dict)
    target: str = "states"
    changes: Sequence[str] = ()
    memory: Sizes | None = None
    rescaled: Mapping[str, Any] = field(default_factory=dict)
    loads: str | None = None
    zeros: Mapping[str, Any] = field(default_factory=dict)
    tuned: TuneReport | None = None
    fillable: bool = True
    other_shape: OtherShape | None = None
    output: str | None = None

    @property
    def layers(self) -> Sequence[LayerPrune | ChangedLayer]:
        """The layers, with what a change of kept units did to them, where it did."""
        if not self.differences:
            return self.each
        return [ChangedLayer(**vars(a), difference=d) for a, d in zip(self.each, self.differences, strict=True)]

    @property
    def states(self) -> Sizes:
        """Live units of all layers."""
        return Sizes(sum(layer.before for layer in self.each), sum(layer.after for layer in self.each))

    @property
    def state_bytes(self) -> Sizes | None:
        """Bytes that a sequence needs from step to step; absent where a layer does not say."""
        return self.memory

    @property
    def calibration(self) -> Mapping[str, Any]:
        """Where the inputs come from that C was refitted on, or that the criterion measured."""
        return self.refitted_on or self.needed.get("calibration", {})

    def _left_out(self) -> Collection[str]:
        out = {*super()._left_out()} - {"meaning"}
        out |= {"method", "settings", "meaning"} if self.method == "criterion" else set()
        return out | (set() if self.refitted_on else {"settings"}) | ({"target"} if self.target == "states" else set())
