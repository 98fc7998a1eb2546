"""The report of a pruning, whatever the method."""

from __future__ import annotations

from collections.abc import Sequence

from last_cli.base.record import Sizes
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.followers import other_weights
from last_cli.pruning.recipe import Recipe
from last_cli.results.prune import LayerPrune, PruneReport


def report_of(
    before: Checkpoint, after: Checkpoint, recipe: Recipe, ratio: float, layers: Sequence[LayerPrune]
) -> PruneReport:
    """What all methods report, with a warning for each layer that lost all its units; the recipe names its target."""
    rescaled = after.stamp["pruned"][-1].get("rescaled", {})
    inexact = [rescaled["inexact"]] if "inexact" in rescaled else []
    target, loader = recipe.target or "states", after.loader
    warnings = [*other_weights(before.layers, before.following), *_emptied(layers, target), *_inexact(before, target)]
    return PruneReport(
        checkpoint=before.source,
        family=before.family,
        criterion=recipe.label,
        ratio=ratio,
        scope=recipe.scope or "global",
        shape=recipe.shape or "ragged",
        seed=recipe.seed,
        assumed=before.assumed(before.layer_options),
        each=layers,
        parameters=Sizes(before.parameters, after.parameters),
        bytes=Sizes(before.bytes, after.bytes),
        sliced_copies=_cut_copies(before, after),
        masked=recipe.masked,
        warnings=[*warnings, *inexact],
        target=target,
        rescaled=rescaled,
        memory=_memory(before, after),
        loads=loader and loader.said,
        fillable=not _inexact(before, target),
    )


def _memory(before: Checkpoint, after: Checkpoint) -> Sizes | None:
    one, other = before.memory, after.memory
    return None if one is None or other is None else Sizes(one, other)


def _cut_copies(before: Checkpoint, small: Checkpoint) -> int:
    """How many arrays follow the parameters and were cut with them."""
    return sum(key in before.following for key in small.changed) + sum(map(len, small.also.values()))


def _emptied(layers: Sequence[LayerPrune], target: str) -> list[str]:
    none, silent = ("state is", "B = C = 0") if target == "states" else (f"{target} are", "coefficients of 0")
    return [
        f"{layer.name}: no {none} left; {layer.stored} with {silent} {'is' if layer.stored == 1 else 'are'} stored"
        for layer in layers
        if layer.stored and not layer.after
    ]


def _inexact(before: Checkpoint, target: str) -> list[str]:
    """Why the units that stay are not what they were, once for each reason."""
    layers = [layer for layer in before.layers if target in layer.units]  # Weights are no units of layers.
    return list(dict.fromkeys(why for layer in layers if (why := layer.target(target).inexact)))
