"""Nodes that are nearly layers: what they lack or have too much, and what they are instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.families.copies import Structure, below_params, variable
from last_cli.families.family import Family, Relative
from last_cli.families.layer import Layer
from last_cli.families.target import Shapes
from last_cli.formats import Key, Leaf

# Leaf names that say nothing alone; those of projections and convolutions stand in attention, too.
_COMMON = {"A", "B", "C", "D"}
_COMMON |= {f"{part}.{name}" for part in ("in_proj", "conv1d", "out_proj") for name in ("weight", "bias")}
_SHOWN = 6

LOST = (
    "a leaf was lost or renamed on the way here, or this is another kind of layer; `last list families` has the "
    "leaves of each, and `last inspect` shows what is there"
)


@dataclass(frozen=True)
class Node:
    """A node of a tree, and the arrays right below it: their keys by name, and their shapes."""

    path: Key
    names: Mapping[str, Key]
    shapes: Shapes
    structure: Structure

    @property
    def inside(self) -> Shapes:
        """Shapes of the arrays below, near and far, by their path there."""
        return {"/".join(path): shape for path, shape in self.structure.below(self.path).items()}

    @property
    def name(self) -> str:
        """Its path below the parameters."""
        return "/".join(below_params(self.path)) or "the tree"


def nodes_of(leaves: Mapping[Key, Leaf], structure: Structure, families: Iterable[Family] = ()) -> dict[Key, Node]:
    """Every node that has arrays, in the order of the tree; a family's leaf "conv1d.weight" stands two below it."""
    deep = {name for family in families for name in (*family.required, *family.optional, *family.absent) if "." in name}
    names: dict[Key, dict[str, Key]] = {}
    for key, leaf in leaves.items():
        if leaf.kind == "array" and key:  # A tree that is a single array has a leaf without a name.
            *path, name = variable(key)
            names.setdefault(tuple(path), {})[name] = key
            if deep and path and (two := f"{path[-1]}.{name}") in deep:
                names.setdefault(tuple(path[:-1]), {})[two] = key
    return {
        path: Node(path, own, {name: leaves[key].shape for name, key in own.items()}, structure)
        for path, own in names.items()
    }


def refuse_foreign(name: str, family: Family, node: Node) -> None:
    """Refuses a node with all of a family's leaves that is another layer all the same.

    Raises:
        CheckpointError: it is a relative of the family, or has more arrays along the states.
    """
    if relative := _relative(node, [family]):
        raise CheckpointError(
            f"{name}: {relative.name}, no {family.name}: {relative.why}{_seen(node)}", _why_not(family)
        )
    own = family.required | family.optional
    try:
        sizes = family.sizes({leaf: shape for leaf, shape in node.shapes.items() if leaf in own})
    except CheckpointError:  # Whoever makes the layer says so.
        return
    if sizes.states in {1, *(n * width for n in (1, 2) for width in (sizes.features, sizes.outputs or 0))}:
        return
    if more := [
        f"{path} {shape}"
        for path, shape in node.inside.items()
        if path.replace("/", ".") not in own and sizes.states in shape
    ]:
        raise CheckpointError(
            f"{name}: has all leaves of the family {family.name}, and {_listed(more)} along its {sizes.states} states, "
            "which no layer of that family has",
            _why_not(family),
        )


def near_of(nodes: Iterable[Node], families: Sequence[Family]) -> list[Node]:
    """Those that have most of a family's leaves, or are of a kind that their own leaves tell."""
    alone = [relative for family in families for relative in family.relatives if relative.alone]
    known: dict[frozenset[tuple[str, tuple[int, ...]]], bool] = {}

    def is_near(node: Node) -> bool:
        inside = node.inside
        if (alike := frozenset(inside.items())) not in known:  # Models repeat their layers.
            family = _likest(node, families)
            shared = _shared(node, family)
            most = len(shared) > 1 and (2 * len(shared) >= len(family.required) or len(shared - _COMMON) > 1)
            known[alike] = most or any(relative.fits(inside) for relative in alone)
        return known[alike]

    return [node for node in nodes if is_near(node)]


def refuse_near(nodes: Iterable[Node], families: Sequence[Family]) -> None:
    """Refuses a tree with nodes that are nearly layers.

    Raises:
        CheckpointError: there is one; says what it lacks, what it has too much, and what it may be.
    """
    for node in nodes:
        raise CheckpointError(f"{node.name}: {_difference(node, _likest(node, families), families)}", LOST)


def halves_of(nodes: Iterable[Node], layers: Iterable[Layer]) -> list[tuple[Node, Family]]:
    """Nodes in the place of a stack's layer that have some leaves of the others, however few; and of which family."""
    stacks = {_place(_path(layer)): layer.family for layer in layers}
    placed = [(node, stacks[place]) for node in nodes if (place := _place(node.path)) in stacks]
    return [
        (node, family)
        for node, family in placed
        if any("." not in name and name in family.required | family.optional for name in node.names)
    ]


def refuse_halves(halves: Iterable[tuple[Node, Family]], families: Sequence[Family]) -> None:
    """Raises CheckpointError where there is a node with some leaves of a layer; says what it lacks."""
    for node, family in halves:
        raise CheckpointError(f"{node.name}: {_difference(node, family, families)}", LOST)


def nearest(nodes: Mapping[Key, Node], families: Sequence[Family]) -> str | None:
    """The node of a tree without layers that is most like one, and why it is none; None where none is."""

    def likeness(node: Node) -> int:
        shared = max(len(_shared(node, family)) for family in families)
        return 2 * shared + bool(_relative(node, families))

    node = max(nodes.values(), key=likeness, default=None)
    if node is None or not likeness(node):
        return None
    return f"{node.name}: {_difference(node, _likest(node, families), families)}"


def check_siblings(layers: Iterable[Layer]) -> None:
    """Raises CheckpointError where a layer of a stack lacks a leaf that its neighbours have."""
    stacks: dict[Any, list[Layer]] = {}
    for layer in layers:
        stacks.setdefault((layer.family.name, _place(_path(layer))), []).append(layer)
    for stack in stacks.values():
        fullest = max(stack, key=lambda layer: len(layer.leaves))
        for layer in stack:
            if lost := sorted(fullest.leaves.keys() - layer.leaves.keys()):
                raise CheckpointError(f"{layer.name}: has no {_listed(lost)}, but {fullest.name} has", LOST)


def _path(layer: Layer) -> Key:
    """The node that a layer's own leaves are at."""
    name, key = next((name, key) for name, key in layer.leaves.items() if "/" not in name)
    return variable(key)[: -len(name.split("."))]


def _place(path: Key) -> str:
    """A path that all layers of a stack share."""
    return re.sub(r"\d+", "#", "/".join(path))


def _likest(node: Node, families: Iterable[Family]) -> Family:
    """The family whose leaves a node has most of."""
    return max(families, key=lambda family: len(_shared(node, family)))


def _difference(node: Node, family: Family, families: Sequence[Family]) -> str:
    """What a node has of a family's leaves, what not, what else, and what it may be."""
    own = family.required | family.optional
    have = [name for name in node.names if name in own]
    more = [f"{path} {shape}" for path, shape in node.inside.items() if path.replace("/", ".") not in own]
    said = f"has {_listed(have, 12)} of the family {family.name}" if have else f"no leaf of the family {family.name}"
    lacks = sorted(family.required - set(node.names))
    said += f" but no {_listed(lacks, 12)}" if have and lacks else ""
    said += f", and {_listed(more)} besides" if more else ""
    relative = _relative(node, [family, *families])
    return said + (f". It is {relative.name}: {relative.why}" if relative else "")


def _relative(node: Node, families: Iterable[Family]) -> Relative | None:
    """The relative that a node is, before all others one that its leaves tell alone."""
    inside = node.inside
    found = [relative for family in families for relative in family.relatives if relative.fits(inside)]
    return next((relative for relative in found if relative.alone), found[0] if found else None)


def _shared(node: Node, family: Family) -> set[str]:
    """The family's leaves that a node has; none where they say nothing alone."""
    own = set(node.names) & (family.required | family.optional)
    return own & family.required if own - _COMMON else set()


def _why_not(family: Family) -> str:
    return f"what the leaves of {family.name} say is not what this layer computes: it is neither scored nor pruned"


def _seen(node: Node) -> str:
    return f"; its leaves are {_listed([f'{path} {shape}' for path, shape in node.inside.items()], 12)}"


def _listed(names: Sequence[str], n: int = _SHOWN) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
