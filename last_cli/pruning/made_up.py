"""A constant for what goes: leaves that make up for the mean of it, where what loads the model has room for them.

Layers may get a leaf that they do not have, such as the bias of a projection.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from last_cli.base.errors import UsageError
from last_cli.base.record import Sizes
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.layer import Layer, layer_of
from last_cli.formats import Leaf
from last_cli.pruning.compact import resized
from last_cli.pruning.cut import Kept
from last_cli.pruning.method import Pruned
from last_cli.pruning.needs import Needs
from last_cli.pruning.recipe import Recipe

New = Mapping[str, Mapping[str, np.ndarray]]
"""Leaves of each layer, by its name and their own."""


def made_up(checkpoint: Checkpoint, needs: Needs, masks: Mapping[str, np.ndarray]) -> tuple[New, list[str]]:
    """The leaves that make up for what the masks remove, and what is to be said where there is no room for them."""
    recipe = needs.recipe
    name = (recipe.scoring.measure or "", recipe.target or "")
    if not recipe.scoring.makes_up or any(name not in layer.family.made_up for layer in checkpoint.layers):
        return {}, []
    new = {
        layer.name: layer.family.made_up[name](checkpoint.arrays(layer), needs.means[layer.name], masks[layer.name])
        for layer in checkpoint.layers
    }
    if why := _no_room(checkpoint, new, masks, recipe):
        return {}, [f"the criterion {recipe.criterion} goes without its {' and '.join(names_of(new))}: {why}"]
    return new, []


def _no_room(checkpoint: Checkpoint, new: New, masks: Mapping[str, np.ndarray], recipe: Recipe) -> str | None:
    """Why what loads the model has no room for such leaves; None where it has."""
    if all(new[layer.name].keys() <= layer.leaves.keys() for layer in checkpoint.layers):
        return None
    if recipe.masked:
        return "the model has none, and ⟦masked⟧ changes nothing in how it is made"
    try:
        resized(with_leaves(checkpoint, new), Kept(masks, recipe.target or "states", stock=recipe.stock))
    except UsageError as error:
        return error.message
    return None


def names_of(new: New) -> list[str]:
    """The names of the leaves of all layers."""
    return sorted({name for leaves in new.values() for name in leaves})


def of_source(found: Pruned, source: Checkpoint) -> Pruned:
    """What was made of a checkpoint with such leaves, said as made of the one without them."""
    *others, step = found.checkpoint.stamp["pruned"]
    origin = {"path": source.source.path, "digest": source.digest, "step": source.source.step}
    stamp = {**found.checkpoint.stamp, "pruned": [*others, {**step, "source": origin}]}
    report = replace(
        found.report,
        checkpoint=source.source,
        parameters=Sizes(source.parameters, found.report.parameters.after),
        bytes=Sizes(source.bytes, found.report.bytes.after),
    )
    return Pruned(replace(found.checkpoint, stamp=stamp), report)


def with_leaves(checkpoint: Checkpoint, new: New) -> Checkpoint:
    """The checkpoint with these leaves in the place of those of its layers, or besides them."""
    if not new:
        return checkpoint
    layers, leaves, changed = [], dict(checkpoint.leaves), {}
    for layer in checkpoint.layers:
        own = {name: layer.leaves.get(name, _beside(layer, name)) for name in new.get(layer.name, {})}
        for name, key in own.items():
            changed[key] = new[layer.name][name]
            leaves[key] = Leaf(key, changed[key].shape, changed[key].dtype.name, "array")
        layers.append(_with(layer, {**layer.leaves, **own}, leaves) if own.keys() - layer.leaves.keys() else layer)
    changes = ChainMap(changed, checkpoint.changed)  # pyright: ignore[reportArgumentType]
    return replace(checkpoint, layers=tuple(layers), leaves=leaves, changed=changes)


def with_room(checkpoint: Checkpoint, names: Sequence[str]) -> Checkpoint:
    """The checkpoint with zeros in the place of leaves of these names that its layers do not have."""
    new = {}
    for layer in checkpoint.layers:
        wanted = [name for name in names if name not in layer.leaves and name in layer.family.optional]
        weights = {name: checkpoint.leaves[layer.leaves[name.replace("bias", "weight")]] for name in wanted}
        zeros = {name: np.zeros(weight.shape[:1], "float32") for name, weight in weights.items()}
        new[layer.name] = zeros
    return with_leaves(checkpoint, new) if any(new.values()) else checkpoint


def _beside(layer: Layer, name: str) -> tuple[str, ...]:
    """The key of a leaf that a layer does not have yet: where its others are."""
    other, key = next((other, key) for other, key in layer.leaves.items() if not other.startswith("../"))
    return (*key[: len(key) - len(other.split("."))], *name.split("."))


def _with(layer: Layer, own: Mapping[str, tuple[str, ...]], leaves: Mapping[tuple[str, ...], Leaf]) -> Layer:
    return layer_of(layer.name, layer.family, own, {name: leaves[key].shape for name, key in own.items()})
