"""Method `criterion`: the units that score lowest go, all other values stay bit-equal, and C may be refitted after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.lti.system import bound_of
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.compact import compact
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.needs import Needs, needs_of
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.reconstruct import method as reconstruct
from last_cli.pruning.reconstruct.fit import fit_of
from last_cli.pruning.reconstruct.projection import MEANING, refitted, text_of
from last_cli.pruning.report import report_of
from last_cli.pruning.score import score_layers, with_keep
from last_cli.pruning.slow import slow_warnings
from last_cli.results.prune import LayerPrune
from last_cli.results.score import LayerScore


@dataclass(frozen=True)
class ByCriterion:
    """See the module; a method.Method."""

    name: str = "criterion"
    summary: str = "method of pruning: what scores lowest goes, and nothing else changes"
    changes: str | None = None
    needs_inputs: bool = False

    def prepare(
        self, checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None = None
    ) -> Plan:
        """Score all units."""
        needs = needs_of(checkpoint, recipe, observation)
        scored, warnings = score_layers(checkpoint, needs)
        warnings += slow_warnings(checkpoint, recipe, scored)
        if recipe.refit and checkpoint.layers[0].family.system is None:
            assert observation is not None
            text_of(observation)
            return ProjectionPlan(CriterionPlan(checkpoint, needs, scored, warnings), observation, progress)
        if recipe.refit:
            assert observation is not None
            fit = fit_of(observation)
            return RefitPlan(reconstruct.ReconstructPlan(fit, recipe, scored, warnings, progress), needs)
        return CriterionPlan(checkpoint, needs, scored, warnings)


CRITERION = ByCriterion()


@dataclass(frozen=True, eq=False)
class CriterionPlan:
    """Scores of all units."""

    checkpoint: Checkpoint
    needs: Needs
    scored: Sequence[LayerScore]
    warnings: Sequence[str]

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan."""
        recipe, needs = self.needs.recipe, self.needs
        scored, masked = with_keep(self.scored, recipe, ratio), recipe.masked or draft
        settings = {**recipe.settings, **needs.said}
        found = pruned(self.checkpoint, scored, replace(recipe, masked=masked), ratio, settings)
        small, report = found.checkpoint, found.report
        assumed = {**report.assumed, **needs.assumed}
        warnings = [*self.warnings, *report.warnings]
        return Pruned(small, replace(report, assumed=assumed, needed=needs.said, warnings=warnings))


@dataclass(frozen=True, eq=False)
class RefitPlan:
    """Scores of all units, and the moments by which C is refitted to those that stay."""

    plan: reconstruct.ReconstructPlan
    needs: Needs

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan."""
        recipe, needs = self.needs.recipe, self.needs
        scored = with_keep(self.plan.scored, recipe, ratio)
        masks = [s.keep for s in scored if s.keep is not None]
        found = replace(self.plan, recipe=recipe).refit(masks, ratio, draft=draft)
        said = {} if recipe.needs_network else needs.said  # else the report has them as those of the refit
        assumed = {**found.report.assumed, **needs.assumed}
        return replace(found, report=replace(found.report, assumed=assumed, needed=said))


@dataclass(frozen=True, eq=False)
class ProjectionPlan:
    """Scores of all units of layers that are no Systems, and the text on which what they put out is refitted."""

    plan: CriterionPlan
    observation: Observation
    progress: Progress | None = None

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan."""
        plan, needs = self.plan, self.plan.needs
        checkpoint, recipe = plan.checkpoint, replace(needs.recipe, masked=needs.recipe.masked or draft)
        scored = with_keep(plan.scored, recipe, ratio)
        masks = {s.name: s.keep for s in scored if s.keep is not None}
        changed, names = refitted(
            checkpoint, masks, recipe.target or "states", text_of(self.observation), self.progress
        )
        calibration = {"calibration": dict(self.observation.source)}
        settings = {**recipe.settings, **calibration, **needs.said, "method": "refit", "changes": [], "refitted": names}
        found = pruned(changed, scored, recipe, ratio, settings)
        source = compact(checkpoint, masks, {"ratio": ratio, **settings, "masked": recipe.masked}, masked=recipe.masked)
        report = replace(
            found.report,
            checkpoint=checkpoint.source,
            method="refit",
            refitted_on=self.observation.source,
            settings={"refitted": names},
            meaning=MEANING,
            assumed={**found.report.assumed, **needs.assumed},
            warnings=[*plan.warnings, *found.report.warnings],
        )
        return Pruned(replace(found.checkpoint, stamp=source.stamp), report)


def pruned(
    checkpoint: Checkpoint, scored: Sequence[LayerScore], recipe: Recipe, ratio: float, settings: Mapping[str, Any]
) -> Pruned:
    """The checkpoint with the units that `scored` keeps, and its report.

    Args:
        checkpoint: what is cut.
        scored: its layers, each with a mask.
        recipe: with its target filled in.
        ratio: what was asked for.
        settings: how the units were chosen, for the stamp.
    """
    masks = {s.name: s.keep for s in scored if s.keep is not None}
    settings = {"ratio": ratio, **settings, "masked": recipe.masked}
    small = compact(checkpoint, masks, settings, masked=recipe.masked)
    sizes = [layer.units[recipe.target or "states"].count for layer in small.layers]
    layers = [_layer_report(s, width) for s, width in zip(scored, sizes, strict=True)]
    report = report_of(checkpoint, small, recipe, ratio, layers)
    if "inexact" in report.rescaled:
        from last_cli.pruning.inexact import difference  # it needs a network

        said = difference(checkpoint, small, masks, settings)
        report = replace(report, warnings=[*report.warnings, said])
    return Pruned(small, report)


def _layer_report(scored: LayerScore, width: int) -> LayerPrune:
    assert scored.keep is not None
    removed, norms = scored.live & ~scored.keep, scored.norms
    return LayerPrune(
        name=scored.name,
        before=scored.states,
        after=int(scored.keep.sum()),
        stored=width,
        groups=len(scored.keep),
        removed_hinf=None if norms is None else float(norms.hinf[removed].sum()),
        gain_bound=None if norms is None else bound_of(norms.gains, removed),
        smallest_kept_score=float(scored.scores[scored.keep].min()) if scored.keep.any() else None,
    )
