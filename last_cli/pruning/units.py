"""How many a checkpoint has of what a recipe removes."""

from __future__ import annotations

import math

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of
from last_cli.pruning.recipe import BLOCKS, WEIGHTS, Recipe


def units_of(checkpoint: Checkpoint, recipe: Recipe) -> int:
    """Live units of all layers, whole blocks, or the weights of the modules that the recipe names.

    Args:
        checkpoint: what is pruned.
        recipe: with its target filled in.
    """
    if recipe.target not in (BLOCKS, WEIGHTS):
        return sum(int(checkpoint.live(layer, recipe.target).sum()) for layer in checkpoint.layers)
    blockwise = network_of(checkpoint).blockwise
    assert blockwise is not None  # No recipe is for such a target in another network.
    parts = blockwise.parts(model_spec(checkpoint))
    if recipe.target == BLOCKS:
        return len(parts)
    modules = recipe.sparsity["modules"]
    names = {f"{part.prefix}.{one.tensor}" for part in parts for one in part.linears if one.module in modules}
    return sum(math.prod(leaf.shape) for key, leaf in checkpoint.leaves.items() if ".".join(key) in names)
