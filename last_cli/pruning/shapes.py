"""What a pruning would have given in the other shape, for its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.compact import compact
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.select import Shape
from last_cli.results.prune import OtherShape


def other_shape(
    checkpoint: Checkpoint, recipe: Recipe, choice: Callable[[Recipe], Sequence[np.ndarray]]
) -> OtherShape | None:
    """How many units stay, and in how many bytes, where the same scores choose in the other shape.

    None where shape decides nothing: every group of a layer keeps as many anyway, layers are one group, or all arrays
    keep their shapes.

    Args:
        checkpoint: what is pruned.
        recipe: with its target and shape filled in.
        choice: a recipe -> the masks (G, N) of what it keeps, one a layer.
    """
    target, layers = recipe.target or "states", checkpoint.layers
    if recipe.masked or (recipe.kind and recipe.kind.even) or all(y.units[target].groups == 1 for y in layers):
        return None
    shape: Shape = "ragged" if recipe.shape == "rectangular" else "rectangular"
    masks = choice(replace(recipe, shape=shape))
    named = {layer.name: mask for layer, mask in zip(layers, masks, strict=True)}
    small = compact(checkpoint, named, {"target": target})
    return OtherShape(shape, sum(int(mask.sum()) for mask in masks), small.bytes)
