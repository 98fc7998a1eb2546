"""Which arrays follow the states, and what is left of them: sliced, or with the removed states' entries set to zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from last_cli.checkpoint import Key, Leaf
from last_cli.families.family import StateLeaf, take, zero
from last_cli.layers import Layer, companions
from last_cli.selection import indices

Read = Callable[[Iterable[Key]], Mapping[Key, np.ndarray]]


@dataclass(frozen=True)
class Cut:
    """What becomes of one array.

    Attributes:
        where: its axes.
        keep: which states stay, bool (G, N).
        masked: the array keeps its shape; `coefficient` says whether it is one of B and C, which are then set to zero.
    """

    where: StateLeaf
    keep: np.ndarray
    masked: bool = False
    coefficient: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The array's shape afterwards."""
        if self.masked:
            return shape
        cut, states = list(shape), self.keep.shape[1]
        cut[self.where.state_axis] = cut[self.where.state_axis] // states * int(self.keep.sum(axis=1).max())
        return tuple(cut)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The array afterwards; what is kept is bit-equal."""
        if not self.masked:
            return take(array, self.where, indices(self.keep), self.keep.shape[1])
        return zero(array, self.where, ~self.keep) if self.coefficient else array


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


def own_cuts(layers: Iterable[Layer], keep: Mapping[str, np.ndarray], masked: bool) -> dict[Key, Cut]:
    """What becomes of the layers' own leaves; `keep` has a mask (G, N) for each layer's name."""
    found = {key: _cut(layer, name, keep, masked) for layer in layers for name, key in layer.leaves.items()}
    return {key: cut for key, cut in found.items() if cut}


def copied_cuts(
    layers: Iterable[Layer],
    keep: Mapping[str, np.ndarray],
    masked: bool,
    leaves: Mapping[Key, Leaf],
    parameters: Mapping[Key, Leaf],
) -> dict[Key, Cut]:
    """What becomes of those `leaves` that follow the layers' parameters: optimizer moments, moving averages."""
    found = {key: _cut(*follows, keep, masked) for key, follows in companions(layers, leaves, parameters).items()}
    return {key: cut for key, cut in found.items() if cut}


def cut_leaves(leaves: Mapping[Key, Leaf], cuts: Mapping[Key, Cut]) -> dict[Key, Leaf]:
    """All leaves with the shapes that the cut ones will have."""
    return {**leaves, **{key: replace(leaves[key], shape=cut.shape(leaves[key].shape)) for key, cut in cuts.items()}}


def _cut(layer: Layer, name: str, keep: Mapping[str, np.ndarray], masked: bool) -> Cut | None:
    where = layer.family.state_leaves.get(name)
    return Cut(where, keep[layer.name], masked, name in layer.family.coefficients) if where else None
