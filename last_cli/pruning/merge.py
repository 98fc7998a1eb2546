"""Method `merge`: several groups of heads in a row share one B and C, the mean of theirs.

Nothing chooses: of G groups of which every layer keeps K, each G/K in a row become one. Heads, and the groups of the
gate's norm, stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from last_cli.base.errors import UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.compact import compact
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.report import report_of
from last_cli.pruning.select import check_ratio, kept_count
from last_cli.results.prune import LayerPrune

MEANING = {"merge": "B and C of the groups that stay are means of so many in a row, which their heads then share"}


@dataclass(frozen=True)
class Merge:
    """See the module; a method.Method.

    Attributes:
        targets: see Recipe.targets.
    """

    name: str = "merge"
    summary: str = "method of pruning groups: neighbouring groups share the mean of their B and C"
    changes: str | None = "means of B and C"
    needs_inputs: bool = False
    targets: tuple[str, ...] = ("groups",)

    def prepare(
        self, checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None = None
    ) -> Plan:
        """Nothing is measured."""
        recipe = recipe.on(checkpoint.layers)
        if all(layer.units["groups"].count == 1 for layer in checkpoint.layers):
            raise UsageError(
                f"{checkpoint.index.location.path}: all heads share one B and C, so there is nothing to merge",
                "⟦target states⟧ makes B and C smaller",
            )
        return MergePlan(checkpoint, recipe)


MERGE = Merge()


@dataclass(frozen=True, eq=False)
class MergePlan:
    """A checkpoint, of which any number of groups may be merged."""

    checkpoint: Checkpoint
    recipe: Recipe

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan; what stays is rounded up to a divisor of the number of groups."""
        check_ratio(ratio)
        recipe, masks, layers = replace(self.recipe, masked=self.recipe.masked or draft), {}, []
        for layer in self.checkpoint.layers:
            count = layer.units["groups"].count
            least = max(kept_count(count, ratio), min(recipe.min_states, count), 1)
            kept = next(n for n in range(least, count + 1) if count % n == 0)
            masks[layer.name] = np.arange(count)[None] % (count // kept) == 0
            stored = count if recipe.masked else kept
            layers.append(LayerPrune(layer.name, count, kept, stored, 1, None, None, None))
        settings = {"ratio": ratio, **recipe.settings, "masked": recipe.masked, "method": "merge", "changes": []}
        small = compact(self.checkpoint, masks, settings, masked=recipe.masked)
        report = report_of(self.checkpoint, small, recipe, ratio, layers)
        return Pruned(small, replace(report, method="merge", meaning=MEANING))
