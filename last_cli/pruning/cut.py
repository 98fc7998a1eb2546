"""What is left of every array that carries units: cut, or with the entries of removed units set to zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from last_cli.families.followers import Follower
from last_cli.families.layer import Layer
from last_cli.families.resizing import Rescale
from last_cli.families.target import Segment, averaged, cut_shape, take, without_axis, zero
from last_cli.formats import Key, Leaf
from last_cli.pruning.select import indices, stored

SMALLEST_FACTORED = 128  # optax.adafactor(min_dim_size_to_factor)

Read = Callable[[Iterable[Key]], Mapping[Key, np.ndarray]]


@dataclass(frozen=True)
class Kept:
    """Which units of a checkpoint's layers stay.

    Attributes:
        masks: bool (G, N) for each layer by name.
        target: what the units are.
        masked: every array keeps its shape, and coefficients of removed units are zero.
        placeholders: for each layer that keeps no unit, by name, the one of each group, (G, 1), that is stored instead,
            with zeros for its coefficients.
        width: how many units every group is stored with at least, zeros for those that are lacking.
        stock: stock classes are to load the result.
    """

    masks: Mapping[str, np.ndarray]
    target: str = "states"
    masked: bool = False
    placeholders: Mapping[str, np.ndarray] = field(default_factory=dict)
    width: int = 1
    stock: bool = False

    def cut(self, layer: Layer, leaf: str) -> Cut | None:
        """What becomes of an array with the shape of a layer's leaf; None where it carries no units."""
        segments = layer.units[self.target].segments.get(leaf)
        if segments is None:
            return None
        merged, placeholder = layer.target(self.target).merged, self.placeholders.get(layer.name)
        return Cut(segments, self.masks[layer.name], self.masked, placeholder, self.width, merged=merged)

    def stored(self, layer: Layer) -> int:
        """Units that each group of a layer is stored with."""
        return layer.units[self.target].count if self.masked else max(self.width, stored(self.masks[layer.name]))


@dataclass(frozen=True)
class Cut:
    """What becomes of one array: see `Kept`, for one layer; without segments it keeps its shape.

    Where units are merged, each that stays is the mean of itself and those behind it that go; masked, all of them are.
    """

    segments: tuple[Segment, ...]
    keep: np.ndarray
    masked: bool = False
    placeholder: np.ndarray | None = None
    width: int = 1
    rescale: Rescale | None = None
    merged: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The array's shape afterwards."""
        groups, units = self.keep.shape
        width = max(self.width, stored(self.keep))
        return shape if self.masked else cut_shape(shape, self.segments, (groups, units), width)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The array afterwards; what is kept is bit-equal, unless it is rescaled."""
        return self._taken(array) if self.rescale is None else self.rescale.apply(self._taken(array))

    def dtype(self, dtype: str) -> str:
        """The array's dtype afterwards."""
        return self.rescale.dtype if self.rescale and self.rescale.dtype else dtype

    def _taken(self, array: np.ndarray) -> np.ndarray:
        if not self.segments:  # A factored moment that lacks the axis of the units, or what is only rescaled.
            return array
        if self.merged:
            array = averaged(array, self.segments, self.keep.shape, self.keep.shape[1] // stored(self.keep))
            return array if self.masked else take(array, self.segments, indices(self.keep), self.keep.shape[1])
        if self.masked:
            return zero(array, self.segments, ~self.keep)
        if self.placeholder is None:
            return take(array, self.segments, indices(self.keep, self.width), self.keep.shape[1])
        silent = zero(array, self.segments, np.ones(self.keep.shape, bool))
        padding = np.full((len(self.keep), max(self.width - self.placeholder.shape[1], 0)), -1)
        index = np.concatenate([self.placeholder, padding], axis=1)
        return take(silent, self.segments, index, self.keep.shape[1])


class Cuts(Mapping[Key, np.ndarray]):
    """The new arrays by key. Each is read and cut when it is asked for, so that none is held for longer."""

    def __init__(self, cuts: Mapping[Key, Cut], read: Read) -> None:
        self._cuts, self._read = cuts, read

    def __getitem__(self, key: Key) -> np.ndarray:
        cut = self._cuts[key]
        return cut.apply(self._read([key])[key])

    def __contains__(self, key: object) -> bool:
        """Without reading, as a Mapping's own would."""
        return key in self._cuts

    def __iter__(self) -> Iterator[Key]:
        return iter(self._cuts)

    def __len__(self) -> int:
        return len(self._cuts)


def own_cuts(layers: Iterable[Layer], kept: Kept) -> dict[Key, Cut]:
    """What becomes of the layers' own leaves."""
    found = {key: kept.cut(layer, name) for layer in layers for name, key in layer.leaves.items()}
    return {key: cut for key, cut in found.items() if cut}


def copied_cuts(following: Mapping[Key, Follower], kept: Kept, parameters: Mapping[Key, Leaf]) -> dict[Key, Cut | None]:
    """What becomes of the arrays that follow the layers' parameters; None where that is not certain.

    Args:
        following: what each follows.
        kept: the units that stay.
        parameters: the leaves that the layers are among, as they were.
    """
    found: dict[Key, Cut | None] = {}
    for key, follower in following.items():
        cut = kept.cut(follower.layer, follower.leaf)
        if cut and follower.without is not None:
            found[key] = _factored(cut, parameters[follower.parameter].shape, follower.without)
        elif cut:
            found[key] = cut
    return found


def _factored(cut: Cut, shape: tuple[int, ...], axis: int) -> Cut | None:
    """The cut of a factored moment, which lacks one axis of its parameter.

    Not certain where the axis tells independent systems apart, and where Adafactor would factor the smaller parameter
    otherwise than this one: over other axes, or not at all.
    """
    segments = without_axis(cut.segments, len(shape), axis)
    before, after = _factored_axes(shape), _factored_axes(cut.shape(shape))
    return None if segments is None or before != after else replace(cut, segments=segments)


def _factored_axes(shape: tuple[int, ...]) -> tuple[list[int], bool]:
    """The two largest axes, and whether both are as large as Adafactor wants them by default."""
    axes = np.argsort(shape, kind="stable")[-2:]
    return axes.tolist(), shape[axes[0]] >= SMALLEST_FACTORED


def with_rescales(cuts: Mapping[Key, Cut], rescales: Mapping[Key, Rescale]) -> dict[Key, Cut]:
    """The cuts, and what is rescaled besides or after them."""
    whole = Cut((), np.ones((1, 1), bool))
    return {**cuts, **{key: replace(cuts.get(key, whole), rescale=rescale) for key, rescale in rescales.items()}}


def cut_leaves(leaves: Mapping[Key, Leaf], cuts: Mapping[Key, Cut]) -> dict[Key, Leaf]:
    """All leaves with the shapes and dtypes that the cut ones will have."""
    changed = {
        key: replace(leaves[key], shape=cut.shape(leaves[key].shape), dtype=cut.dtype(leaves[key].dtype))
        for key, cut in cuts.items()
    }
    return {**leaves, **changed}
