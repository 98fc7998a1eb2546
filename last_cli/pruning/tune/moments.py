"""Moments of an optimizer that belong to leaves with new values: they are of a way that was never gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.copies import is_optimizer
from last_cli.families.find import find_layers
from last_cli.families.followers import followers
from last_cli.formats import Key, Leaf, dtype_of, index

Names = Collection[str]


def zero_moments(checkpoint: Checkpoint, names: Names) -> dict[Key, np.ndarray]:
    """Zeros for the moments of the leaves of every layer that have these names, by key."""
    own = {key: checkpoint.leaves[key] for key in moments_of(checkpoint, names)}
    return {key: np.zeros(leaf.shape, dtype_of(leaf.dtype)) for key, leaf in own.items()}


def zero_moments_beside(checkpoint: Checkpoint, names: Names) -> dict[str, dict[Key, np.ndarray]]:
    """The same for the other items of the step, such as an optimizer state saved beside the parameters, by item."""
    location, found = checkpoint.index.location, {}
    for item in location.items:
        if item == location.item:
            continue
        leaves, cut = index(location.path, location.step, item).leaves, checkpoint.also.get(item, {})
        shapes = {key: cut[key].shape if key in cut else leaves[key].shape for key in _keys(checkpoint, names, leaves)}
        if shapes:
            found[item] = {key: np.zeros(shape, dtype_of(leaves[key].dtype)) for key, shape in shapes.items()}
    return found


def moments_of(checkpoint: Checkpoint, names: Names) -> list[Key]:
    """Keys of these moments in the checkpoint's own tree."""
    return [key for key in _keys(checkpoint, names, checkpoint.index.leaves) if key in checkpoint.leaves]


def _keys(checkpoint: Checkpoint, names: Names, leaves: Mapping[Key, Leaf]) -> list[Key]:
    """What follows such leaves and is no other set of weights; on disk, where nothing is cut yet, shapes tell it."""
    stored = checkpoint.index.leaves
    layers = find_layers(stored, checkpoint.index.config)
    following = followers(layers, leaves, stored, followed=lambda layer, leaf: leaf in names)
    return [key for key, follower in following.items() if is_optimizer(follower.root, follower.of)]
