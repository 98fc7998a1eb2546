"""The checkpoint without its removed units: every array that carries them is cut, and nothing else is touched."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.find import Layer, layer_of
from last_cli.formats import Key, Leaf, index, read
from last_cli.formats.stamp import STAMP_SCHEMA
from last_cli.pruning.cut import Cuts, Kept, copied_cuts, cut_leaves, own_cuts


def compact(
    checkpoint: Checkpoint, masks: Mapping[str, np.ndarray], settings: Mapping[str, Any], *, masked: bool = False
) -> Checkpoint:
    """The checkpoint with the units of `masks`, and no report; kept values are bit-equal.

    Copies of the parameters, such as optimizer moments, in the same item or another of the step, are cut with them. A
    layer that keeps no unit is stored with one whose coefficients are zero.

    Args:
        checkpoint: what is cut.
        masks: bool (G, N) for each layer by name.
        settings: how they were chosen, for the stamp; `target` names the units, by default states.
        masked: every array keeps its shape, and coefficients of removed units are zero.
    """
    target = settings.get("target", "states")
    kept = Kept(masks, target, masked, {} if masked else _placeholders(checkpoint, masks))
    cuts = own_cuts(checkpoint.layers, kept)
    cuts |= copied_cuts(checkpoint.layers, kept, checkpoint.leaves, checkpoint.leaves)
    leaves = cut_leaves(checkpoint.leaves, cuts)
    return replace(
        checkpoint,
        layers=tuple(_with_shapes(layer, leaves) for layer in checkpoint.layers),
        leaves=leaves,
        changed=ChainMap(Cuts(cuts, checkpoint.read), checkpoint.changed),  # pyright: ignore[reportArgumentType]
        also=_other_items(checkpoint, kept),
        stamp=_stamp(checkpoint, settings, kept),
    )


def _placeholders(checkpoint: Checkpoint, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each layer that keeps no unit, the one that is stored in their place: of states, which decays fastest."""
    found = {}
    for layer in checkpoint.layers:
        if not masks[layer.name].any():
            linear = layer.family.system is not None
            chosen = int(np.abs(checkpoint.system(layer).lam).max(axis=0).argmin()) if linear else 0
            found[layer.name] = np.full((len(masks[layer.name]), 1), chosen)
    return found


def _with_shapes(layer: Layer, leaves: Mapping[Key, Leaf]) -> Layer:
    shapes = {name: leaves[key].shape for name, key in layer.leaves.items()}
    return layer_of(layer.name, layer.family, layer.leaves, shapes)


def _other_items(checkpoint: Checkpoint, kept: Kept) -> dict[str, Mapping[Key, np.ndarray]]:
    """New arrays in the other items of the step, such as an optimizer state saved beside the parameters."""
    location, found = checkpoint.index.location, {}
    for name in location.items:
        if name == location.item:
            continue
        other = index(location.path, location.step, name)
        if cuts := copied_cuts(checkpoint.layers, kept, other.leaves, checkpoint.leaves):
            found[name] = Cuts(cuts, partial(read, other))
    return found


def _stamp(checkpoint: Checkpoint, settings: Mapping[str, Any], kept: Kept) -> dict[str, Any]:
    """The source's stamp with one more pruning at the end of its chain."""
    source = checkpoint.source
    step = {
        "last": __version__,
        **settings,
        "source": {"path": source.path, "digest": source.digest, "step": source.step},
        "layers": [
            {"name": layer.name, "before": kept.masks[layer.name].shape[1], "kept": _listed(kept.masks[layer.name])}
            | ({"standin": int(kept.placeholders[layer.name][0, 0])} if layer.name in kept.placeholders else {})
            for layer in checkpoint.layers
        ],
    }
    return {
        **checkpoint.stamp,
        "schema": STAMP_SCHEMA,
        "last": __version__,
        "model": asdict(checkpoint.config),
        "assumed": sorted(name for name, origin in checkpoint.origins.items() if origin == "assumed"),
        "pruned": [*checkpoint.stamp.get("pruned", []), step],
    }


def _listed(keep: np.ndarray) -> list[Any]:
    rows = [np.flatnonzero(row).tolist() for row in keep]
    return rows[0] if len(rows) == 1 else rows
