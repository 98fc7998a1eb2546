"""Method `criterion`: the units that score lowest go, all other values stay bit-equal, and C may be refitted after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.made_up import made_up, names_of, of_source, with_leaves
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.needs import Needs, needs_of
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.reconstruct import method as reconstruct
from last_cli.pruning.reconstruct.fit import fit_of
from last_cli.pruning.reconstruct.projection import Projected, ProjectionPlan, text_of
from last_cli.pruning.removal import pruned
from last_cli.pruning.score import score_layers, with_keep
from last_cli.pruning.shapes import other_shape
from last_cli.pruning.slow import slow_warnings
from last_cli.pruning.unpaired import UNPAIRED, in_stamp, own_readouts, repaired
from last_cli.results.score import LayerScore


@dataclass(frozen=True)
class ByCriterion:
    """See the module; a method.Method."""

    name: str = "criterion"
    summary: str = "method of pruning: removes what scores lowest and changes nothing else"
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
            found = Projected(checkpoint, needs.recipe, scored, warnings, needs.said, needs.assumed)
            return ProjectionPlan(found, text_of(observation), progress)
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
        masks = {s.name: s.keep for s in scored if s.keep is not None}
        target = recipe.target or "states"
        readouts = own_readouts(self.checkpoint, needs, self.scored, ratio)
        new, lacking = made_up(self.checkpoint, needs, masks)
        said = {**needs.said, **({"made_up": names_of(new)} if new else {})}
        settings = {**recipe.settings, **said, **({"refitted": names_of(new)} if new else {})}
        settings |= in_stamp(self.checkpoint, readouts, target)
        changed = with_leaves(repaired(self.checkpoint, masks, readouts, target), new)
        found = of_source(pruned(changed, scored, replace(recipe, masked=masked), ratio, settings), self.checkpoint)
        warnings = [*self.warnings, *found.report.warnings, *lacking, *([UNPAIRED] if readouts else [])]
        assumed = {**found.report.assumed, **needs.assumed}
        report = replace(found.report, assumed=assumed, needed=said, warnings=warnings)
        other = other_shape(self.checkpoint, replace(recipe, masked=masked), partial(_kept, self.scored, ratio))
        return replace(found, report=replace(report, other_shape=other))


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
        report = replace(found.report, assumed=assumed, needed=said)
        masked = replace(recipe, masked=recipe.masked or draft)
        other = other_shape(self.plan.fit.checkpoint, masked, partial(_kept, self.plan.scored, ratio))
        return replace(found, report=replace(report, other_shape=other))


def _kept(scored: Sequence[LayerScore], ratio: float, recipe: Recipe) -> list[np.ndarray]:
    return [s.keep for s in with_keep(scored, recipe, ratio) if s.keep is not None]
