"""A checkpoint without the units that no mask keeps, and the report that goes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.lti.system import bound_of
from last_cli.pruning.compact import compact
from last_cli.pruning.method import Pruned
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.report import report_of
from last_cli.results.prune import LayerPrune
from last_cli.results.score import LayerScore


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
