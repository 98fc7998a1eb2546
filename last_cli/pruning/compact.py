"""The checkpoint without its removed units: every array that carries them is cut, and nothing else is touched."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import numpy as np

from last_cli.base import registry
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.carriers import carriers
from last_cli.families.followers import check_moments, followers
from last_cli.families.layer import Layer, layer_of
from last_cli.families.resizing import Resizing, Shrinking
from last_cli.formats import Key, Leaf, index, read
from last_cli.formats.settings import merged, with_settings
from last_cli.pruning.cut import Cut, Cuts, Kept, copied_cuts, cut_leaves, own_cuts, with_rescales
from last_cli.pruning.listed import listed
from last_cli.pruning.select import stored


def compact(
    checkpoint: Checkpoint, masks: Mapping[str, np.ndarray], settings: Mapping[str, Any], *, masked: bool = False
) -> Checkpoint:
    """The checkpoint with the units of `masks`, and no report; kept values are bit-equal, but for what is rescaled.

    Copies of the parameters, such as optimizer moments, in the same item or another of the step, are cut with them. A
    layer that keeps no unit is stored with one whose coefficients are zero.

    Args:
        checkpoint: what is cut.
        masks: bool (G, N) for each layer by name.
        settings: how they were chosen, for the stamp; `target` names the units, by default states, and `changes` the
            roles of the leaves that the method gives other values; with `stock` every layer is stored as large as the
            largest.
        masked: every array keeps its shape, and coefficients of removed units are zero.

    Raises:
        CheckpointError: an array holds the units, and nothing says how it is cut.
    """
    target = settings.get("target", "states")
    stock = bool(settings.get("stock"))
    width = max(map(stored, masks.values())) if stock else 1
    _check_filled(checkpoint.layers, masks, target, width)
    kept = Kept(masks, target, masked, {} if masked else _placeholders(checkpoint, masks, target), width, stock)
    resizing = Resizing() if masked else resized(checkpoint, kept)
    changes = merged(resizing.sizes, resizing.settings)
    cuts = with_rescales(own_cuts(checkpoint.layers, kept), resizing.arrays)
    cuts |= _copied(checkpoint, kept, checkpoint.leaves)
    leaves = cut_leaves(checkpoint.leaves, cuts)
    files = with_settings(checkpoint.index.config, changes)
    small = replace(
        checkpoint,
        index=replace(checkpoint.index, config=files),
        settings=merged(checkpoint.settings, changes),
        layers=tuple(_with_shapes(layer, leaves, files) for layer in checkpoint.layers),
        leaves=leaves,
        changed=ChainMap(Cuts(cuts, checkpoint.read), checkpoint.changed),  # pyright: ignore[reportArgumentType]
        also=_other_items(checkpoint, kept),
    )
    loads = {"loads": small.loader.said} if small.loader else {}
    return replace(small, stamp=_stamp(checkpoint, {**settings, **loads}, kept, resizing))


def _check_filled(layers: Sequence[Layer], masks: Mapping[str, np.ndarray], target: str, width: int) -> None:
    """Raises UsageError where zeros would fill up a layer that they change."""
    for layer in layers:
        if (why := layer.target(target).inexact) and stored(masks[layer.name]) < width:
            raise UsageError(
                f"{layer.name}: ⟦stock⟧: {why}",
                "zeros would count in the norm: leave ⟦stock⟧ out, or keep as many in every layer",
            )


def _placeholders(checkpoint: Checkpoint, masks: Mapping[str, np.ndarray], target: str) -> dict[str, np.ndarray]:
    """For each layer that keeps no unit, the one that is stored in their place: of states, which decays fastest."""
    found = {}
    for layer in checkpoint.layers:
        if not masks[layer.name].any():
            linear = target == "states" and layer.family.system is not None
            chosen = int(np.abs(checkpoint.system(layer).lam).max(axis=0).argmin()) if linear else 0
            found[layer.name] = np.full((len(masks[layer.name]), 1), chosen)
    return found


def resized(checkpoint: Checkpoint, kept: Kept) -> Resizing:
    """What changes besides what is cut, as the layers' families say."""
    found, files = Resizing(), checkpoint.index.config
    for name in dict.fromkeys(layer.family.name for layer in checkpoint.layers):
        layers = [layer for layer in checkpoint.layers if layer.family.name == name]
        if (resize := layers[0].family.resized) is not None:
            counts = [kept.stored(layer) for layer in layers]
            more = resize(Shrinking(files, layers, kept.target, counts, checkpoint.leaves, kept.stock))
            sizes, settings = merged(found.sizes, more.sizes), merged(found.settings, more.settings)
            found = Resizing(sizes, {**found.arrays, **more.arrays}, settings, found.inexact or more.inexact)
    return found


def _with_shapes(layer: Layer, leaves: Mapping[Key, Leaf], files: Mapping[str, Any]) -> Layer:
    shapes = {name: leaves[key].shape for name, key in layer.leaves.items()}
    family = registry.get("families", layer.family.name) if layer.family.resized else layer.family
    return layer_of(layer.name, family.bound(files) if family.bound else family, layer.leaves, shapes)


def _copied(checkpoint: Checkpoint, kept: Kept, leaves: Mapping[Key, Leaf]) -> dict[Key, Cut]:
    """What becomes of the arrays of a tree, the layers' own or another item's, that follow the layers' parameters."""
    shared = leaves is checkpoint.leaves
    following = checkpoint.following if shared else followers(checkpoint.layers, leaves, checkpoint.leaves)
    check_moments(following, leaves)
    cuts = copied_cuts(following, kept, checkpoint.leaves)
    own = {key for layer in checkpoint.layers for key in layer.leaves.values()}
    known = {*following, *(own if shared else ())}
    unknown = carriers(checkpoint.layers, leaves, known, checkpoint.leaves)
    unknown |= {key: following[key].layer for key, cut in cuts.items() if cut is None}
    if unknown:
        _refuse(unknown, leaves)
    return {key: cut for key, cut in cuts.items() if cut}


def _refuse(unknown: Mapping[Key, Layer], leaves: Mapping[Key, Leaf]) -> NoReturn:
    (key, layer), more = next(iter(unknown.items())), len(unknown) - 1
    others = f" and {more} more array{'s' if more > 1 else ''}" if more else ""
    place = next(iter(layer.leaves.values()))
    shared = next((n for n, (a, b) in enumerate(zip(key, place, strict=False)) if a != b), 0)
    raise CheckpointError(
        f"{'/'.join(key)} {leaves[key].shape}{others}: along the {layer.sizes.states} states of {layer.name}, and "
        "nothing says for certain how to cut it",
        f"⟦drop {'/'.join(key[: shared + 1])}⟧ leaves out what code makes anew, such as caches and optimizer states",
    )


def _other_items(checkpoint: Checkpoint, kept: Kept) -> dict[str, Mapping[Key, np.ndarray]]:
    """New arrays in the other items of the step, such as an optimizer state saved beside the parameters."""
    location, found = checkpoint.index.location, {}
    for name in location.items:
        if name == location.item:
            continue
        other = index(location.path, location.step, name)
        if cuts := _copied(checkpoint, kept, other.leaves):
            found[name] = Cuts(cuts, partial(read, other))
    return found


def _stamp(checkpoint: Checkpoint, settings: Mapping[str, Any], kept: Kept, resizing: Resizing) -> dict[str, Any]:
    """The source's stamp with one more pruning at the end of its chain."""
    source, rescaled = checkpoint.source, resizing.rescaled()
    step = {
        "last": __version__,
        **settings,
        "source": {"path": source.path, "digest": source.digest, "step": source.step},
        **({"dropped": list(checkpoint.drops)} if checkpoint.drops else {}),
        **({"rescaled": rescaled} if rescaled else {}),
        "layers": [
            {"name": layer.name, "before": kept.masks[layer.name].shape[1], "kept": _listed(layer, kept)}
            | ({"standin": int(kept.placeholders[layer.name][0, 0])} if layer.name in kept.placeholders else {})
            for layer in checkpoint.layers
        ],
    }
    return checkpoint.chained(step)


def _listed(layer: Layer, kept: Kept) -> list[Any]:
    return listed(kept.masks[layer.name], layer.target(kept.target).flat)
