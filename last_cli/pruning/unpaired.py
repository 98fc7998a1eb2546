"""Readouts that are chosen apart from the units that they read, as code did that we compare with.

Where a state keeps its B and loses its C, it gets the C of another that lost its B: first the leaves are put in such an
order that what stays stands at the same places, then both are cut alike.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.layer import Layer
from last_cli.families.target import take
from last_cli.formats import Key
from last_cli.pruning.listed import by_group, listed
from last_cli.pruning.needs import Needs
from last_cli.pruning.score import with_keep
from last_cli.results.score import LayerScore

READOUTS = "readouts"
"""The entry of a stamp that lists whose readouts stay, for each layer in order."""

UNPAIRED = "B and C are chosen apart, as the paper's code does: a state that stays may have the C of another"

Masks = Mapping[str, np.ndarray]


def own_readouts(checkpoint: Checkpoint, needs: Needs, scored: Sequence[LayerScore], ratio: float) -> Masks:
    """Whose readouts stay, (G, N) for each layer by name; none where the criterion chooses units as a whole."""
    recipe = needs.recipe
    if recipe.scoring.readouts is None:
        return {}
    name = (recipe.scoring.readouts, recipe.target or "")
    found = [
        replace(one, scores=layer.family.energies[name](checkpoint.arrays(layer)))
        for layer, one in zip(checkpoint.layers, scored, strict=True)
    ]
    return {one.name: one.keep for one in with_keep(found, recipe, ratio) if one.keep is not None}


def in_stamp(checkpoint: Checkpoint, readouts: Masks, target: str) -> dict[str, Any]:
    """For the stamp, where readouts are chosen apart."""
    lists = [listed(readouts[y.name], y.target(target).flat) for y in checkpoint.layers if y.name in readouts]
    return {READOUTS: lists} if lists else {}


def as_said(checkpoint: Checkpoint, steps: Sequence[Mapping[str, Any]]) -> Checkpoint:
    """The checkpoint as prunings cut it, by their entries of a stamp: with readouts in the order of what stays."""
    for step in steps:
        if READOUTS in step:
            target = step.get("target", "states")
            keep, readouts = _masks_of(checkpoint, step, target)
            checkpoint = repaired(checkpoint, keep, readouts, target)
    return checkpoint


def _masks_of(checkpoint: Checkpoint, step: Mapping[str, Any], target: str) -> tuple[Masks, Masks]:
    """Which units stay, and whose readouts."""
    keep, readouts = {}, {}
    for layer, entry, own in zip(checkpoint.layers, step["layers"], step[READOUTS], strict=True):
        units, flat = layer.units[target], layer.target(target).flat
        for masks, numbers in ((keep, entry["kept"]), (readouts, own)):
            mask = np.zeros((units.groups, units.count), bool)
            for row, places in zip(mask, by_group(numbers, units.groups, units.count, flat), strict=True):
                row[places] = True
            masks[layer.name] = mask
    return keep, readouts


def repaired(checkpoint: Checkpoint, keep: Masks, readouts: Masks, target: str) -> Checkpoint:
    """The checkpoint with the readouts that stay at the places of the units that stay, each in its order."""
    if not readouts:
        return checkpoint
    orders: dict[Key, tuple[Layer, str, np.ndarray]] = {}
    for layer in checkpoint.layers:
        order = _order(keep[layer.name], readouts[layer.name])
        for leaf, key in layer.leaves.items():
            if "readout" in layer.units[target].roles(leaf):
                orders[key] = (layer, leaf, order)
    changed = _Ordered(checkpoint, orders, target)
    return replace(checkpoint, changed=ChainMap(changed, checkpoint.changed))  # pyright: ignore[reportArgumentType]


def _order(keep: np.ndarray, readouts: np.ndarray) -> np.ndarray:
    """Whose readout each unit gets, (G, N): of those that stay one that stays, and of the others one that goes."""
    order = np.empty(keep.shape, int)
    for row, own, others in zip(order, keep, readouts, strict=True):
        row[own], row[~own] = np.flatnonzero(others), np.flatnonzero(~others)
    return order


class _Ordered(Mapping[Key, np.ndarray]):
    """Leaves with their readouts in another order; each is read when it is asked for."""

    def __init__(
        self, checkpoint: Checkpoint, orders: Mapping[Key, tuple[Layer, str, np.ndarray]], target: str
    ) -> None:
        self._checkpoint, self._orders, self._target = checkpoint, orders, target

    def __getitem__(self, key: Key) -> np.ndarray:
        layer, leaf, order = self._orders[key]
        units = layer.units[self._target]
        segments = [segment for segment in units.segments[leaf] if segment.role == "readout"]
        return take(self._checkpoint.read([key])[key], segments, order, units.count)

    def __contains__(self, key: object) -> bool:
        """Without reading, as a Mapping's own would."""
        return key in self._orders

    def __iter__(self) -> Iterator[Key]:
        return iter(self._orders)

    def __len__(self) -> int:
        return len(self._orders)
