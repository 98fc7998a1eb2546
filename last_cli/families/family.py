"""What a family of SSM layers is: which leaf carries the state on which axis, and one function to a `System`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from last_cli.base.annotations import Bool, Int, Shaped
from last_cli.base.errors import CheckpointError
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.system import Array, System

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LayerShape:
    """Sizes of one layer: `states` stored per system, `groups` of independent systems, features, directions."""

    states: int
    groups: int
    features: int
    directions: int


@dataclass(frozen=True)
class StateLeaf:
    """The axis along which a leaf carries the state, and, in families of one system a channel, the channel's axis.

    Axes count from the end.
    """

    state_axis: int
    channel_axis: int | None = None


@dataclass(frozen=True)
class Family:
    """A kind of diagonal SSM layer.

    Attributes:
        name: its name in the registry.
        kind: what reports call it; parameterisations of one kind of layer share it.
        summary: one line for `last list families`.
        required: leaf names that together say that a node of the tree is such a layer.
        state_leaves: every leaf that carries the state. Pruning slices these and no others.
        shape: leaf shapes -> sizes. Raises CheckpointError where they disagree (the caller adds the layer's name).
        coefficients: those of the state leaves that hold B or C: a state whose are zero adds nothing.
        options: names of ModelConfig that its `system` depends on.
        system: leaves and configuration -> System, in the leaves' own array library and precision.
        with_readouts: leaves and another C as the System has it, complex (R, G, K, N) -> the leaves that it changes, by
            name: the inverse of how C enters `system`. None where the family has no such inverse.
        with_system: leaves and another System of the same sizes -> the leaves that it changes, by name: the inverse of
            `system` in poles, B and C, with the step sizes of the leaves. Poles too slow for a clip are clipped.
        network: the Network that its layers stand in, "module:attribute", imported when a model is built; None where
            none is known.
    """

    name: str
    kind: str
    summary: str
    required: frozenset[str]
    state_leaves: Mapping[str, StateLeaf]
    shape: Callable[[Shapes], LayerShape]
    system: Callable[[Mapping[str, Any], ModelConfig], System]
    with_readouts: Callable[[Mapping[str, Any], Array], dict[str, Array]] | None = None
    with_system: Callable[[Mapping[str, Any], System, ModelConfig], dict[str, Array]] | None = None
    optional: frozenset[str] = frozenset()
    coefficients: frozenset[str] = frozenset({"C"})
    options: tuple[str, ...] = ("step_rescale",)
    network: str | None = None

    def matches(self, leaves: Mapping[str, Any] | set[str]) -> bool:
        """Whether a node with these leaf names is a layer of this family."""
        return self.required <= set(leaves)


def take(
    leaf: Shaped[np.ndarray, ...], where: StateLeaf, index: Int[np.ndarray, "G K"], states: int
) -> Shaped[np.ndarray, ...]:
    """The kept states of a leaf, bit-equal, in the order of `index`; an index of -1 is padding and gives zeros.

    A leaf that holds several blocks of all the states along its state axis (a C of 2P columns) is taken in each block.
    """
    if where.channel_axis is None:
        blocks = leaf.shape[where.state_axis] // states
        return leaf.take(np.concatenate([index[0] + b * states for b in range(blocks)]), axis=where.state_axis)
    moved = np.moveaxis(leaf, (where.channel_axis, where.state_axis), (0, 1))
    index = index.reshape(*index.shape, *[1] * (moved.ndim - 2))
    taken = np.take_along_axis(moved, np.maximum(index, 0), axis=1)
    taken = np.where(index >= 0, taken, np.zeros((), leaf.dtype))
    return np.moveaxis(taken, (0, 1), (where.channel_axis, where.state_axis))


def zero(
    leaf: Shaped[np.ndarray, "..."], where: StateLeaf, removed: Bool[np.ndarray, "G N"]
) -> Shaped[np.ndarray, "..."]:
    """The leaf in its own shape with the entries of removed states set to zero, in each block of all the states."""
    return put(leaf, where, removed, np.zeros_like(leaf))


def put(
    leaf: Shaped[np.ndarray, "..."], where: StateLeaf, states: Bool[np.ndarray, "G N"], other: Shaped[np.ndarray, "..."]
) -> Shaped[np.ndarray, "..."]:
    """The leaf with the entries of some states from another of its shape, in each block of all the states."""
    axes = (where.state_axis,) if where.channel_axis is None else (where.channel_axis, where.state_axis)
    last = tuple(range(-len(axes), 0))
    moved = np.moveaxis(leaf, axes, last)
    mask = states if len(axes) == 2 else np.tile(states[0], moved.shape[-1] // states.shape[1])
    return np.moveaxis(np.where(mask, np.moveaxis(other, axes, last), moved), last, axes)


def live_states(family: Family, leaves: Mapping[str, Any]) -> Bool[np.ndarray, "G N"] | None:
    """Which states may add something to the output; None where all of them may.

    The others have B = C = 0 in every number stored of them: padding of channels that keep fewer states than the
    widest, states removed by masking, and the one that stands in for a layer without any. No trained state is so.
    """
    used = None
    for name in family.coefficients & leaves.keys():
        where, leaf = family.state_leaves[name], np.asarray(leaves[name])
        states = min(leaves[n].shape[w.state_axis] for n, w in family.state_leaves.items() if n in leaves)
        blocks = _nonzero(leaf, where).reshape(-1, leaf.shape[where.state_axis] // states, states)
        nonzero = np.asarray(blocks.any(axis=1))
        used = nonzero if used is None else used | nonzero
    return None if used is None or used.all() else used


def _nonzero(leaf: Shaped[np.ndarray, "..."], where: StateLeaf) -> Bool[np.ndarray, "G columns"]:
    """Which columns of each channel hold anything but zeros. The first number of each mostly tells."""
    axes = (where.state_axis,) if where.channel_axis is None else (where.channel_axis, where.state_axis)
    moved = np.moveaxis(leaf, axes, range(len(axes)))
    rest = tuple(range(len(axes) - moved.ndim, 0))
    nonzero = np.asarray(moved[(..., *[slice(0, 1)] * len(rest))].any(axis=rest))
    nonzero[~nonzero] = moved[~nonzero].any(axis=rest)
    return nonzero if len(axes) == 2 else nonzero[None]


def agree(what: str, sizes: Mapping[str, int]) -> int:
    """The one size that all leaves have.

    Raises:
        CheckpointError: they differ; names the first two that do.
    """
    (first, size), *others = sizes.items()
    for name, other in others:
        if other != size:
            raise CheckpointError(f"{first} has {size} {what} but {name} has {other}")
    return size


def expect_ndim(shapes: Shapes, name: str, form: str, allowed: tuple[int, ...]) -> None:
    """Raises CheckpointError unless the leaf has an allowed number of axes."""
    if len(shapes[name]) not in allowed:
        raise CheckpointError(f"{name} has shape {shapes[name]}, expected {form}")


def expect_pairs(shapes: Shapes, name: str, form: str, allowed: tuple[int, ...]) -> None:
    """Raises CheckpointError unless the leaf also has a last axis of 2: real and imaginary part."""
    expect_ndim(shapes, name, form, allowed)
    if shapes[name][-1] != 2:
        raise CheckpointError(f"{name} has shape {shapes[name]}, expected {form}: real and imaginary part last")
