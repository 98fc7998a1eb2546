"""What can be removed from a layer: its units, and for every leaf the entries that each unit owns.

Cutting, zeroing and comparing go by these segments alone, so that no other room knows a leaf's name or its axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from last_cli.base.annotations import Bool, Int, Shaped

Role = Literal["dynamics", "input", "readout"]
ROLES: tuple[Role, ...] = get_args(Role)
Shapes = Mapping[str, tuple[int, ...]]
Found = TypeVar("Found")


def by_shapes(function: Callable[[Shapes], Found]) -> Callable[[Shapes], Found]:
    """The function, which computes once what it says of layers that are alike: models have many of few kinds."""
    known: dict[frozenset[tuple[str, tuple[int, ...]]], Found] = {}

    def found(shapes: Shapes) -> Found:
        key = frozenset(shapes.items())
        if key not in known:
            known[key] = function(shapes)
        return known[key]

    return found


@dataclass(frozen=True)
class Segment:
    """The entries of one leaf, along one axis, that the units of a layer own.

    From `start` on the axis holds `repeat` runs; a run holds all units one after the other, `block` entries each. A C
    of 2P columns, which holds the P states of S5 twice, is one segment with a repeat of 2.

    Attributes:
        axis: counted from the end.
        group_axis: in layers of independent systems, such as the channels of S4D, the axis that tells them apart, from
            the end too; None where a run holds the units of all groups, group after group.
        copies: so many times in a row stand the units of each group where a run holds those of all: as in C of heads
            that share the states of their group.
        role: a unit whose entries are zero in every segment of the roles "input" and "readout" adds nothing.
    """

    axis: int
    start: int = 0
    block: int = 1
    repeat: int = 1
    group_axis: int | None = None
    role: Role = "dynamics"
    copies: int = 1

    @property
    def coefficient(self) -> bool:
        """Whether zeros here silence a unit."""
        return self.role != "dynamics"

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that tell units apart."""
        return (self.axis,) if self.group_axis is None else (self.group_axis, self.axis)


def without_axis(segments: Iterable[Segment], ndim: int, axis: int) -> tuple[Segment, ...] | None:
    """The segments of an array that lacks one axis of a leaf, such as a mean over it.

    Args:
        segments: of the leaf.
        ndim: of the leaf.
        axis: what is lacking, from the start.

    Returns:
        None where the axis tells the groups apart that the units are in: then nothing says which entries go.
    """
    gone, left = axis - ndim, []
    for segment in segments:
        if segment.group_axis == gone:
            return None
        if segment.axis != gone:
            own, groups = (a if a is None or a > gone else a + 1 for a in (segment.axis, segment.group_axis))
            assert own is not None
            left.append(replace(segment, axis=own, group_axis=groups))
    return tuple(left)


Segments = Mapping[str, tuple[Segment, ...]]
"""The segments of a layer's leaves, by the leaf's name."""


@dataclass(frozen=True)
class Target:
    """A kind of unit that can be removed from a layer.

    Attributes:
        name: what recipes call it: "states".
        units: leaf shapes -> (G, N), N units in each of G groups.
        segments: leaf shapes -> the segments of every leaf that carries units.
        scope: within which units are ranked where nothing else is asked for: of all layers together, or of each alone.
        even: every group of a layer keeps as many.
        multiple: of what number the kept ones of a group are a multiple, where there are at least twice as many and
            nothing else is asked for. Kernels want such.
        flat: units are numbered through all groups, as people name them.
        inexact: why what stays computes otherwise once others are gone, where it does: reports say so, and zeros in
            the place of the others would be yet another model.
        merged: units do not go: several in a row become their mean, for which the first of them stands.
    """

    name: str
    units: Callable[[Shapes], tuple[int, int]]
    segments: Callable[[Shapes], Segments]
    scope: Literal["global", "layer"] = "global"
    even: bool = False
    multiple: int = 1
    flat: bool = False
    inexact: str | None = None
    merged: bool = False


@dataclass(frozen=True)
class Units:
    """The units of one layer, (groups, count) of them, and where its leaves hold them."""

    groups: int
    count: int
    segments: Segments = field(repr=False)

    def roles(self, leaf: str) -> set[Role]:
        """What a leaf's segments are to the units."""
        return {segment.role for segment in self.segments.get(leaf, ())}


def take(
    leaf: Shaped[np.ndarray, "..."], segments: Iterable[Segment], index: Int[np.ndarray, "G K"], units: int
) -> Shaped[np.ndarray, "..."]:
    """The leaf with K of every group's units, bit-equal, in the order of `index`; -1 is padding and gives zeros.

    All segments of a leaf lie along one axis. What no segment covers stays.
    """
    segments = sorted(segments, key=lambda s: s.start)
    axes, axis = segments[0].axes, segments[0].axis
    places = _places(segments, leaf.shape[axis], index, units)
    if len(axes) == 1:
        taken = leaf.take(np.maximum(places[0], 0), axis=axis)
        if (places >= 0).all():
            return taken
        shape = [1] * leaf.ndim
        shape[axis] = -1
        return np.where((places[0] >= 0).reshape(shape), taken, np.zeros((), leaf.dtype))
    moved = np.moveaxis(leaf, axes, (0, 1))
    places = places.reshape(*places.shape, *[1] * (moved.ndim - 2))
    taken = np.where(places >= 0, np.take_along_axis(moved, np.maximum(places, 0), axis=1), np.zeros((), leaf.dtype))
    return np.moveaxis(taken, (0, 1), axes)


def cut_shape(
    shape: tuple[int, ...], segments: Iterable[Segment], units: tuple[int, int], kept: int
) -> tuple[int, ...]:
    """The shape of a leaf of whose (G, N) units every group keeps so many."""
    cut, (groups, count) = list(shape), units
    for segment in segments:
        runs = segment.repeat * (groups * segment.copies if segment.group_axis is None else 1)
        cut[segment.axis] -= runs * segment.block * (count - kept)
    return tuple(cut)


def zero(
    leaf: Shaped[np.ndarray, "..."], segments: Iterable[Segment], removed: Bool[np.ndarray, "G N"]
) -> Shaped[np.ndarray, "..."]:
    """The leaf in its own shape with the entries of removed units set to zero where a segment is a coefficient."""
    return put(leaf, [s for s in segments if s.coefficient], removed, np.zeros_like(leaf))


def put(
    leaf: Shaped[np.ndarray, "..."],
    segments: Iterable[Segment],
    units: Bool[np.ndarray, "G N"],
    other: Shaped[np.ndarray, "..."],
) -> Shaped[np.ndarray, "..."]:
    """The leaf with the entries of some units from another of its shape."""
    for segment in segments:
        last = tuple(range(-len(segment.axes), 0))
        moved = np.moveaxis(leaf, segment.axes, last)
        mask = _entries(segment, moved.shape[-1], units)
        leaf = np.moveaxis(np.where(mask, np.moveaxis(other, segment.axes, last), moved), last, segment.axes)
    return leaf


def averaged(
    leaf: Shaped[np.ndarray, "..."], segments: Iterable[Segment], units: tuple[int, int], each: int
) -> Shaped[np.ndarray, "..."]:
    """The leaf with the mean, in double precision, of `each` units in a row in the place of all of them.

    Args:
        leaf: an array whose runs hold the units of all groups.
        segments: of the units in it.
        units: how many in each of how many groups, (G, N).
        each: a divisor of N.
    """
    groups, count = units
    for segment in segments:
        moved = np.moveaxis(leaf, segment.axis, 0).copy()
        own = slice(segment.start, segment.start + segment.repeat * groups * segment.copies * count * segment.block)
        sets = moved[own].astype(np.float64).reshape(-1, each, segment.block, *moved.shape[1:])
        sets[:] = sets.mean(axis=1, keepdims=True)
        moved[own] = sets.reshape(-1, *moved.shape[1:]).astype(leaf.dtype)
        leaf = np.moveaxis(moved, 0, segment.axis)
    return leaf


def owners(shape: tuple[int, ...], units: Units, leaf: str) -> Int[np.ndarray, "..."]:
    """For each entry of a leaf of this shape the unit that owns it, counted through all groups; -1 where none does."""
    found = np.zeros(shape, np.int64)
    numbers = 1 + np.arange(units.groups * units.count).reshape(units.groups, units.count)
    for segment in units.segments.get(leaf, ()):
        last = tuple(range(-len(segment.axes), 0))
        moved = np.moveaxis(found, segment.axes, last)
        own = _entries(segment, moved.shape[-1], numbers)
        found = np.moveaxis(np.where(own > 0, own, moved), last, segment.axes)
    return found - 1


def live_units(units: Units, leaves: Mapping[str, Any]) -> Bool[np.ndarray, "G N"] | None:
    """Which units may add something to the output; None where all of them may.

    The others are zero in every number of every coefficient: padding of groups that keep fewer units than the widest,
    units removed by masking, and the one that is stored for a layer without any. No trained unit is so.
    """
    used = None
    for name, segments in units.segments.items():
        for segment in segments:
            if segment.coefficient and name in leaves:
                nonzero = _by_unit(segment, _nonzero(np.asarray(leaves[name]), segment), units)
                used = nonzero if used is None else used | nonzero
    return None if used is None or used.all() else used


def _places(segments: list[Segment], size: int, index: np.ndarray, units: int) -> np.ndarray:
    """For each row of groups, (rows, entries): which entries of the axis stay, in their order, and -1 for zeros."""
    grouped = segments[0].group_axis is not None
    rows, parts, at = (len(index) if grouped else 1), [], 0
    for segment in segments:
        runs = np.arange(segment.repeat)[:, None] if grouped else _runs(segment, len(index))
        copied = np.repeat(index, segment.copies, axis=0)
        own = index[:, None, :] if grouped else np.tile(copied, (segment.repeat, 1))[None]
        first = segment.start + (runs * units + own) * segment.block
        entries = np.where(own[..., None] >= 0, first[..., None] + np.arange(segment.block), -1)
        parts += [np.tile(np.arange(at, segment.start), (rows, 1)), entries.reshape(rows, -1)]
        at = segment.start + segment.repeat * segment.block * units * (1 if grouped else len(copied))
    return np.concatenate([*parts, np.tile(np.arange(at, size), (rows, 1))], axis=1)


def _runs(segment: Segment, groups: int) -> np.ndarray:
    return np.arange(segment.repeat * groups * segment.copies)[:, None]


def _entries(segment: Segment, size: int, units: np.ndarray) -> np.ndarray:
    """What is said of units (G, N), of entries along the axis: (size,) or (G, size), 0 where no unit owns one."""
    rows = np.repeat(units, segment.copies, axis=0).reshape(1, -1) if segment.group_axis is None else units
    own = np.tile(np.repeat(rows, segment.block, axis=1), segment.repeat)
    mask = np.zeros((len(own), size), units.dtype)
    mask[:, segment.start : segment.start + own.shape[1]] = own
    return mask[0] if segment.group_axis is None else mask


def _by_unit(segment: Segment, entries: np.ndarray, units: Units) -> np.ndarray:
    """Whether any of a unit's entries holds, (G, N), of a mask (rows, size) along the axis."""
    per_row = units.count * (units.groups * segment.copies if segment.group_axis is None else 1)
    own = entries[:, segment.start : segment.start + segment.repeat * per_row * segment.block]
    found = own.reshape(len(entries), segment.repeat, per_row, segment.block).any(axis=(1, 3))
    return np.asarray(found.reshape(units.groups, -1, units.count).any(axis=1))


def _nonzero(leaf: Shaped[np.ndarray, "..."], segment: Segment) -> Bool[np.ndarray, "rows entries"]:
    """Which entries along the axis hold anything but zeros. The first number of each mostly tells."""
    moved = np.moveaxis(leaf, segment.axes, range(len(segment.axes)))
    rest = tuple(range(len(segment.axes) - moved.ndim, 0))
    nonzero = np.asarray(moved[(..., *[slice(0, 1)] * len(rest))].any(axis=rest))
    nonzero[~nonzero] = moved[~nonzero].any(axis=rest)
    return nonzero if len(segment.axes) == 2 else nonzero[None]
