"""What a reduction did, as data: the report of pruning, with what was changed beyond cutting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from last_cli.pruning.error import Difference
from last_cli.results.prune import PruneReport
from last_cli.results.source import Json

MEANING = {
    "gain_bound": "guaranteed bound of the H-infinity norm of the difference, layer by layer",
    "difference_hinf": "the same norm computed: guaranteed to lie between these two; a worst case, no prediction",
    "h2_relative": "predictor: relative error of the layer's output for white inputs",
    "calibration_relative": "predictor, the best one: relative error of the layer's output on the calibration inputs",
    "readout_growth": "norm of the kept states' C over what it was; far above 1 it warns of cancelling errors",
}


@dataclass(frozen=True)
class ReductionReport(PruneReport):
    """The report of a pruning whose readouts were refitted.

    Attributes:
        method: "reconstruct", or "refit" after another criterion's choice.
        inputs: where the calibration inputs come from, with their digest.
        settings: every number that the result depends on.
        differences: of the layers, in their order; empty where they were not asked for.
        reused: sequences whose measurement an earlier run has left in the cache.
    """

    method: str = "reconstruct"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    differences: Sequence[Difference] = ()
    reused: int = 0

    @property
    def measured_columns(self) -> list[str]:
        """Relative errors of each layer's output, and the growth of C."""
        return ["output error", "white error", "|C| growth"] if self.differences else []

    @property
    def measured_rows(self) -> list[list[float | None]]:
        """These for each layer."""
        return [[d.calibration, d.h2, d.growth] for d in self.differences]

    @property
    def measured_notes(self) -> list[str]:
        """Which of them is what, and what C was refitted on."""
        said = ", ".join(f"{name} {value}" for name, value in self.inputs.items() if name != "digest")
        lines = [f"C refitted on: {said}"]
        if self.reused:
            lines.append(f"reused: what an earlier run measured on {self.reused} of these sequences")
        if errors := self.settings.get("logit_errors"):
            others = ", ".join(f"{name} {error:.3g}" for name, error in errors.items())
            lines.append(f"states allotted by {self.settings['allocation']}; relative logit errors: {others}")
        if held := self.settings.get("held_out_logit_errors"):
            steps = ", ".join(f"{'none' if name == 'none' else f'ridge {name}'} {e:.3g}" for name, e in held.items())
            lines.append(f"last step towards the unpruned logits, relative errors on held-out sequences: {steps}")
        if self.differences:
            lines.append(
                "output error (on those inputs) and white error (white noise): relative, predictors and no bounds; "
                "a |C| growth far above 1 warns of cancelling errors"
            )
        return lines

    def as_json(self, output: str | None) -> Json:
        """last.prune/1 with more keys; `output` is null on a dry run."""
        report = super().as_json(output)
        layers = [
            layer
            if found is None
            else layer
            | _guaranteed_and_white(found)
            | {
                "calibration_relative": found.calibration,
                "readout_growth": found.growth,
            }
            for layer, found in zip(report["layers"], self.differences or [None] * len(report["layers"]), strict=True)
        ]
        added = {"method": self.method, "calibration": dict(self.inputs), "settings": dict(self.settings)}
        return report | added | {"layers": layers, "meaning": MEANING}


@dataclass(frozen=True)
class BalancedReport(PruneReport):
    """The report of balanced truncation.

    Attributes:
        differences: of the layers, in their order; empty where they were not asked for.
    """

    differences: Sequence[Difference] = ()

    @property
    def measured_columns(self) -> list[str]:
        """Relative error of each layer's output, and what the H-infinity norm of its change is at most."""
        return ["white error", "change H∞ ≤"] if self.differences else []

    @property
    def measured_rows(self) -> list[list[float | None]]:
        """These for each layer."""
        return [[d.h2, d.hinf[1]] for d in self.differences]

    @property
    def measured_notes(self) -> list[str]:
        """What they are, and what belongs to the old poles still."""
        lines = ["poles, B and C are new"]
        if self.differences:
            lines = [
                "poles, B and C are new; white error (white noise): relative, a predictor and no bound; "
                "change H∞: computed, guaranteed like the gain bound and closer"
            ]
        if self.sliced_copies:
            lines.append("those copies belong to the old poles: start an optimizer anew")
        return lines

    def as_json(self, output: str | None) -> Json:
        """last.prune/1 with more keys; `output` is null on a dry run."""
        report = super().as_json(output)
        meaning = {
            "gain_bound": "guaranteed bound of the H-infinity norm of the difference: twice the sum of the truncated "
            "Hankel singular values, for each readout, with the rounding of what is stored",
            **{name: MEANING[name] for name in ("difference_hinf", "h2_relative")},
        }
        layers = report["layers"]
        if self.differences:
            layers = [a | _guaranteed_and_white(d) for a, d in zip(layers, self.differences, strict=True)]
        return report | {"method": "balanced", "layers": layers, "meaning": meaning}


def _guaranteed_and_white(found: Difference) -> Json:
    return {"difference_hinf": {"lower": found.hinf[0], "upper": found.hinf[1]}, "h2_relative": found.h2}
