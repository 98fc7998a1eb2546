"""Method `reconstruct`: greedy elimination of units, with what reads the others refitted in closed form.

Of states of linear systems nothing but the readout C changes in what is kept, and of language models nothing but
out_proj and D (see surgery and projection). Nothing is trained:

    plan = RECONSTRUCT.prepare(checkpoint, recipe, observe(checkpoint, recipe, Calibration(256, "listops")))
    small = plan.at(0.6).checkpoint
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.display.meaning import REFIT_MEANING
from last_cli.families.find import Layer
from last_cli.families.lti.system import gain_bound
from last_cli.families.target import Role, take
from last_cli.formats import Key
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.compact import compact
from last_cli.pruning.error import difference
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.needs import Needs
from last_cli.pruning.numerics import solvable
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.reconstruct.allocate import Allocation, allocate, kept_by
from last_cli.pruning.reconstruct.correct import corrected
from last_cli.pruning.reconstruct.fit import Fit, LayerFit, check_families, fit_of
from last_cli.pruning.reconstruct.projection import ProjectionPlan, text_of
from last_cli.pruning.reconstruct.surgery import ranked
from last_cli.pruning.report import report_of
from last_cli.pruning.score import score_layers
from last_cli.pruning.select import indices, stored
from last_cli.pruning.shapes import other_shape
from last_cli.results.prune import Difference, LayerPrune
from last_cli.results.score import LayerScore

CHANGES: tuple[Role, ...] = ("readout",)


@dataclass(frozen=True)
class Reconstruct:
    """See the module; a method.Method."""

    name: str = "reconstruct"
    summary: str = "method of pruning: greedy elimination, C (of language models out_proj and D) refitted"
    changes: str | None = "a refitted C"
    needs_inputs: bool = True
    targets: tuple[str, ...] = ("states", "heads", "channels")

    @solvable("the refit of C")
    def prepare(
        self, checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None = None
    ) -> Plan:
        """Moments and sensitivities of the states, and the order in which they can go."""
        assert observation is not None
        recipe = recipe.on(checkpoint.layers)
        if all(layer.family.system is None for layer in checkpoint.layers):
            text = text_of(observation)
            return ProjectionPlan(ranked(checkpoint, recipe, observation, progress), text, progress)
        check_families(checkpoint.layers)
        scored, warnings = score_layers(checkpoint, Needs(Recipe(seed=recipe.seed, target=recipe.target)))
        return ReconstructPlan(fit_of(observation), recipe, scored, warnings, progress)


RECONSTRUCT = Reconstruct()


@dataclass(frozen=True, eq=False)
class ReconstructPlan:
    """What was measured of a checkpoint, for any ratio.

    Attributes:
        scored: norms of the layers' states before anything is removed.
        correct: whether steps towards the whole network's answers follow the refit, see correct.
    """

    fit: Fit
    recipe: Recipe
    scored: Sequence[LayerScore]
    warnings: Sequence[str]
    progress: Progress | None = None
    correct: bool = True

    @solvable("the refit of C")
    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan."""
        recipe, fit = self.recipe, self.fit
        chosen = allocate(fit, ratio, recipe.rule, self.progress)
        C = [p.readouts(mask) for p, mask in zip(fit.layers, chosen.keep, strict=True)]
        said = _allocated(chosen)
        if self.correct and ratio and (better := corrected(fit, chosen.keep, C, self.progress)):
            C = better.C
            said |= {"step_ridges": list(better.ridges), "held_out_divergences": list(better.errors)}
        found = self._pruned("reconstruct", chosen, C, ratio, draft, said)
        masked = replace(recipe, masked=recipe.masked or draft)
        other = other_shape(fit.checkpoint, masked, lambda used: kept_by(fit, chosen.scores, ratio, used.rule))
        return replace(found, report=replace(found.report, other_shape=other))

    @solvable("the refit of C")
    def refit(self, masks: Sequence[np.ndarray], ratio: float, *, draft: bool = False) -> Pruned:
        """The checkpoint with the states of `masks`, one (G, N) a layer, that some criterion chose, and C refitted."""
        keep = [mask & p.problem.live for p, mask in zip(self.fit.layers, masks, strict=True)]
        scores = [p.relative_error * p.sensitivity for p in self.fit.layers]
        C = [p.readouts(mask) for p, mask in zip(self.fit.layers, keep, strict=True)]
        chosen = Allocation("given", scores, keep)
        return self._pruned("refit", chosen, C, ratio, draft, _allocated(chosen))

    def _pruned(
        self,
        method: str,
        chosen: Allocation,
        C: Sequence[np.ndarray],
        ratio: float,
        draft: bool,
        said: Mapping[str, Any],
    ) -> Pruned:
        fit, recipe = self.fit, replace(self.recipe, masked=self.recipe.masked or draft)
        said = {**fit.settings, **said}
        keep = {p.layer.name: mask for p, mask in zip(fit.layers, chosen.keep, strict=True)}
        settings = {"ratio": ratio, **recipe.settings, "masked": recipe.masked, "method": method}
        settings |= {"changes": list(CHANGES), "calibration": dict(fit.source), **said}
        small = compact(fit.checkpoint, keep, settings, masked=recipe.masked)
        changed = self._changed(chosen.keep, C, recipe.masked)
        small = replace(small, changed=ChainMap(changed, small.changed))  # pyright: ignore[reportArgumentType]
        layers = self._layer_reports(chosen, C, recipe.masked)
        report = report_of(fit.checkpoint, small, recipe, ratio, layers)
        report = replace(report, method=method, changes=CHANGES, meaning=REFIT_MEANING)
        report = replace(report, refitted_on=fit.source, settings=said, reused=fit.reused)
        differences = () if draft else self._differences(C)
        warnings = [*self.warnings, *report.warnings]
        return Pruned(small, replace(report, differences=differences, warnings=warnings))

    def _changed(self, keep: Sequence[np.ndarray], C: Sequence[np.ndarray], masked: bool) -> dict[Key, np.ndarray]:
        changed: dict[Key, np.ndarray] = {}
        for p, mask, new in zip(self.fit.layers, keep, C, strict=True):
            if not np.array_equal(new, p.system.C):
                changed |= _leaves(self.fit.checkpoint, p.layer, new, None if masked else indices(mask))
        return changed

    def _layer_reports(self, chosen: Allocation, C: Sequence[np.ndarray], masked: bool) -> list[LayerPrune]:
        rows = zip(self.fit.layers, self.scored, chosen.keep, chosen.scores, C, strict=True)
        return [_layer_report(p, scored, mask, score, new, masked) for p, scored, mask, score, new in rows]

    def _differences(self, C: Sequence[np.ndarray]) -> list[Difference]:
        found = []
        for p, new in zip(self.fit.layers, C, strict=True):
            found.append(difference(p.system, new, p.moments))
            if self.progress:
                self.progress("compare", len(found), len(C))
        return found


def _allocated(chosen: Allocation) -> dict[str, Any]:
    return {"allocation": chosen.name, "divergences": dict(chosen.errors)}


def _leaves(checkpoint: Checkpoint, layer: Layer, C: np.ndarray, index: np.ndarray | None) -> dict[Key, np.ndarray]:
    """The leaves that hold C, cut unless there is no index, in their own precision."""
    assert layer.family.with_readouts is not None
    arrays, found, units = checkpoint.arrays(layer), {}, layer.units["states"]
    for name, array in layer.family.with_readouts(arrays, C).items():
        array = array.astype(arrays[name].dtype)
        if index is not None:
            array = take(array, units.segments[name], index, units.count)
        found[layer.leaves[name]] = array
    return found


def _layer_report(
    p: LayerFit, scored: LayerScore, keep: np.ndarray, score: np.ndarray, C: np.ndarray, masked: bool
) -> LayerPrune:
    removed, values = p.problem.live & ~keep, score[keep & np.isfinite(score)]
    assert scored.norms is not None
    return LayerPrune(
        name=p.layer.name,
        before=scored.states,
        after=int(keep.sum()),
        stored=keep.shape[1] if masked else stored(keep),
        groups=len(keep),
        removed_hinf=float(scored.norms.hinf[removed].sum()),
        gain_bound=gain_bound(replace(p.system, C=p.system.C - C), p.problem.live),
        smallest_kept_score=float(values.min()) if values.size else None,
    )
