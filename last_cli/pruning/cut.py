"""Which arrays follow the states, and what is left of them: sliced, or with the removed states' entries set to zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from last_cli.families.family import StateLeaf, take, zero
from last_cli.families.find import Layer, companions
from last_cli.formats import Key, Leaf
from last_cli.pruning.select import indices, stored

Standins = Mapping[str, np.ndarray]
"""For each layer that loses all states, by name: which state of each channel stands in for them, (G, 1)."""

NONE: Standins = MappingProxyType({})

Read = Callable[[Iterable[Key]], Mapping[Key, np.ndarray]]


@dataclass(frozen=True)
class Cut:
    """What becomes of one array.

    Attributes:
        where: its axes.
        keep: which states stay, bool (G, N).
        masked: the array keeps its shape; `coefficient` says whether it is one of B and C, which are then set to zero.
        standin: where no state stays, the one of each channel, (G, 1), that is stored instead, with B = C = 0.
    """

    where: StateLeaf
    keep: np.ndarray
    masked: bool = False
    coefficient: bool = False
    standin: np.ndarray | None = None

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The array's shape afterwards."""
        if self.masked:
            return shape
        cut, states = list(shape), self.keep.shape[1]
        cut[self.where.state_axis] = cut[self.where.state_axis] // states * stored(self.keep)
        return tuple(cut)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The array afterwards; what is kept is bit-equal."""
        if self.masked:
            return zero(array, self.where, ~self.keep) if self.coefficient else array
        if self.standin is None:
            return take(array, self.where, indices(self.keep), self.keep.shape[1])
        silent = take(array, self.where, self.standin, self.keep.shape[1])
        return np.zeros_like(silent) if self.coefficient else silent


class Cuts(Mapping[Key, np.ndarray]):
    """The new arrays by key. Each is read and cut when it is asked for, so that none is held for longer."""

    def __init__(self, cuts: Mapping[Key, Cut], read: Read) -> None:
        self._cuts, self._read = cuts, read

    def __getitem__(self, key: Key) -> np.ndarray:
        cut = self._cuts[key]
        return cut.apply(self._read([key])[key])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._cuts)

    def __len__(self) -> int:
        return len(self._cuts)


def own_cuts(
    layers: Iterable[Layer], keep: Mapping[str, np.ndarray], masked: bool, standins: Standins = NONE
) -> dict[Key, Cut]:
    """What becomes of the layers' own leaves; `keep` has a mask (G, N) for each layer's name."""
    found = {key: _cut(layer, name, keep, masked, standins) for layer in layers for name, key in layer.leaves.items()}
    return {key: cut for key, cut in found.items() if cut}


def copied_cuts(
    layers: Iterable[Layer],
    keep: Mapping[str, np.ndarray],
    masked: bool,
    leaves: Mapping[Key, Leaf],
    parameters: Mapping[Key, Leaf],
    standins: Standins = NONE,
) -> dict[Key, Cut]:
    """What becomes of those `leaves` that follow the layers' parameters: optimizer moments, moving averages."""
    found = {
        key: _cut(*follows, keep, masked, standins) for key, follows in companions(layers, leaves, parameters).items()
    }
    return {key: cut for key, cut in found.items() if cut}


def cut_leaves(leaves: Mapping[Key, Leaf], cuts: Mapping[Key, Cut]) -> dict[Key, Leaf]:
    """All leaves with the shapes that the cut ones will have."""
    return {**leaves, **{key: replace(leaves[key], shape=cut.shape(leaves[key].shape)) for key, cut in cuts.items()}}


def _cut(layer: Layer, name: str, keep: Mapping[str, np.ndarray], masked: bool, standins: Standins) -> Cut | None:
    where = layer.family.state_leaves.get(name)
    if where is None:
        return None
    return Cut(where, keep[layer.name], masked, name in layer.family.coefficients, standins.get(layer.name))
