"""How much goes: a share of the units, as much as a budget allows, or all that a list does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from last_cli.base.errors import UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning import prune as by_ratio
from last_cli.pruning.budget import Budget, prune_within
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.keep import prune_kept
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.sparse.pattern import pattern_of
from last_cli.results.search import Limited


@dataclass(frozen=True)
class Extent:
    """A ratio, a list or a limit: exactly one is given.

    Attributes:
        ratio: share of all units that goes.
        keep: lists the units that stay; see keep.prune_kept.
        max_drop, max_increase, max_error: limits; see budget.Budget.
        strict, estimate, assume: rules of a budget.
    """

    ratio: float | None = None
    keep: str | Path | Mapping[str, Any] | None = None
    max_drop: float | None = None
    max_increase: float | None = None
    max_error: float | None = None
    strict: bool = False
    estimate: bool = False
    assume: bool = False

    @property
    def limits(self) -> dict[Limited, float]:
        """The limits that are given, by their kind."""
        return {name: limit for name in get_args(Limited) if (limit := getattr(self, name)) is not None}

    def chosen(self, pattern: str | None = None) -> float | Budget | None:
        """The ratio, which a pattern N:M may say, or the budget; None where a list says what stays.

        Raises:
            UsageError: none or several are given, or a rule of budgets goes with none.
        """
        limits, ratio = self.limits, self.ratio
        for rule in ("strict", "estimate"):
            if getattr(self, rule) and not limits:
                raise UsageError(f"⟦{rule}⟧ goes with a budget, such as ⟦max_drop⟧", "leave it out")
        if self.keep is not None:
            if ratio is not None or limits:
                raise UsageError(
                    "⟦keep⟧ and ⟦ratio⟧ or a budget are given, expected one",
                    "⟦keep FILE⟧ removes exactly what the file does not list",
                )
            return None
        if ratio is None and not limits and pattern is not None:
            ratio = pattern_of(pattern).ratio
        if (ratio is not None) + len(limits) != 1:
            *others, last = (f"⟦{name}⟧" for name in get_args(Limited))
            number = "none" if ratio is None and not limits else "several"
            raise UsageError(
                f"{number} of ⟦ratio⟧, {', '.join(others)} and {last} are given, expected one",
                "⟦ratio 0.33⟧ removes a third; ⟦max_drop 0.5⟧ as much as costs half a point on validation data",
            )
        for kind, limit in limits.items():
            return Budget(kind, limit, self.strict, self.estimate, self.assume)
        return ratio


def prune_to(
    checkpoint: Checkpoint,
    extent: Extent,
    recipe: Recipe = Recipe(),
    calibration: Calibration = Calibration(),
    *,
    tune: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint pruned so far; see prune.prune, keep.prune_kept and budget.prune_within, and what they raise.

    Args:
        checkpoint: what is pruned.
        extent: how far.
        recipe: how.
        calibration: sequences for whatever takes some.
        tune: then train what stays, on the same sequences; see tune.after.
        progress: called with what is being done, and how many of how many are done.
    """
    chosen = extent.chosen(recipe.pattern)
    if tune:
        from last_cli.pruning.tune.after import asked_by_pruning, tuned

        asked = asked_by_pruning(recipe, checkpoint, calibration, next(iter(extent.limits), None))
        small = prune_to(checkpoint, extent, recipe, asked, progress=progress)
        return tuned(small, checkpoint, calibration, recipe.seed, progress)
    if extent.keep is not None:
        return prune_kept(checkpoint, extent.keep, recipe, calibration)
    if isinstance(chosen, Budget):
        return prune_within(checkpoint, chosen, recipe, calibration, progress)
    assert chosen is not None
    return by_ratio.prune(checkpoint, chosen, recipe, calibration, progress)
