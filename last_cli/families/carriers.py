"""Arrays outside of a model that hold its states, though no family knows them: caches of decoding, hidden states."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from last_cli.families.copies import Structure, alike, below_params, collection, is_state, variable
from last_cli.families.layer import Layer
from last_cli.formats import Key, Leaf

Shapes = Mapping[Key, tuple[int, ...]]


def carriers(
    layers: Iterable[Layer], leaves: Mapping[Key, Leaf], known: Container[Key], parameters: Mapping[Key, Leaf]
) -> dict[Key, Layer]:
    """The arrays that have as many entries along an axis as a layer has states, and its place or complex numbers.

    Those of real numbers outside of `params` too, where nothing else in the model is as large, and right beside a layer
    what it starts from; and what holds all parameters in one row, as optax.flatten does.

    Args:
        layers: the layers.
        leaves: of a tree, the layers' own or that of another item of the step.
        known: keys of what is cut with the layers, or can stay as it is.
        parameters: the leaves that the layers were found among.
    """
    layers = [layer for layer in layers if layer.family.copied]
    if not layers:
        return {}
    model, places, found = Structure(parameters), {}, {}
    for layer in layers:
        node = variable(next(iter(layer.leaves.values())))[:-1]
        places.setdefault(below_params(node), []).append((node, layer))
    inside, outside = leaves is parameters, _outside(layers, model)
    cut = {variable(key) for layer in layers for name, key in layer.leaves.items() if layer.carries(name)}
    apart = {path: shape for path, shape in model.shapes.items() if path not in cut}  # No follower has a joined path.
    for key, leaf in leaves.items():
        if leaf.kind == "array" and leaf.shape and key not in known:
            path = variable(key)
            layer = _at_a_layer(path, leaf, places, model.shapes, inside=inside)
            if layer is None and (split := _split(path)) != path:
                layer = _at_a_layer(split, leaf, places, apart, inside=inside)
            if layer is None and leaf.dtype.startswith("complex") and "params" not in key:
                layer = next((y for own in places.values() for _, y in own if leaf.shape[-1] == _states(y)), None)
            if layer is None:
                layer = next(filter(None, (each.layer_of(path, leaf, inside=inside) for each in outside)), None)
            if layer is not None:
                found[key] = layer
    return found


@dataclass(frozen=True)
class _Apart:
    """What an array apart from layers of a size looks like that holds their states.

    Attributes:
        params: below what the model lies.
        states: how many a layer has, if that number is telling.
        total: parameters of the model.
        blocks: what the layers lie right below, and the layers.
    """

    params: Key
    states: int | None
    total: int
    blocks: dict[Key, list[Layer]] = field(default_factory=dict)

    def layer_of(self, path: Key, leaf: Leaf, *, inside: bool) -> Layer | None:
        """Of which layer an array has the states along its last axis, or before one of 2, or all parameters along it.

        Among the parameters only what stands right beside the layer, and has no other axis.
        """
        if "float" not in leaf.dtype:
            return None
        if inside and _is_within(path, self.params):
            return next((layer for layer in self.blocks.get(path[:-1], ()) if _is_start(leaf.shape, layer)), None)
        shape = leaf.shape[:-1] if leaf.shape[-1] == 2 and len(leaf.shape) > 2 else leaf.shape
        held = leaf.shape[-1:] == (self.total,) or (len(shape) > 1 and shape[-1:] == (self.states,))
        return next(iter(self.blocks.values()))[0] if held else None


def _outside(layers: Sequence[Layer], model: Structure) -> list[_Apart]:
    """One for all layers of a size; a number of states is telling that no other array of the model has as an axis."""
    found: dict[Any, _Apart] = {}
    sizes = {}
    own = {variable(key) for layer in layers for key in layer.leaves.values()}
    top = _top([variable(next(iter(layer.leaves.values()))) for layer in layers])
    for layer in layers:
        path = variable(next(iter(layer.leaves.values())))
        params = collection(path) or top
        if params not in sizes:
            below = {path: shape for path, shape in model.shapes.items() if _is_within(path, params)}
            other = {size for path, shape in below.items() if path not in own for size in shape}
            sizes[params] = other, sum(map(math.prod, below.values()))
        other, total = sizes[params]
        taken = {*other, layer.sizes.features, layer.sizes.outputs}
        states = None if _states(layer) in taken else _states(layer)
        apart = found.setdefault((params, states), _Apart(params, states, total))
        apart.blocks.setdefault(path[:-2], []).append(layer)
    return list(found.values())


def _top(paths: Sequence[Key]) -> Key:
    """Below what the model lies whose tree has no `params`: below a key of its own, such as `model`, or nothing.

    A key with a number is that of a block, and one without more parts between it and the leaves that of a layer.
    """
    first = paths[0][0]
    one = all(path[0] == first and len(path) > 3 for path in paths)
    return (first,) if one and not re.search(r"\d|layer|block|encoder|backbone", first.lower()) else ()


def _is_within(path: Key, params: Key) -> bool:
    """Whether a path is that of a parameter; where the model has no key of its own, all that is no optimizer's is."""
    return path[: len(params)] == params if params else not is_state(path)


def _is_start(shape: tuple[int, ...], layer: Layer) -> bool:
    """Whether an array right beside a layer can be the states that it starts from: of no width that its block has."""
    widths = {n * width for n in (1, 2) for width in (layer.sizes.features, layer.sizes.outputs or 0)}
    states = _states(layer)
    return states in shape and states not in widths and {*shape} <= {1, 2, states}


def _split(path: Key) -> Key:
    """A path whose parts may be paths that were joined, as a state over a flat dict of parameters has them."""
    return tuple(name for part in path for name in re.split(r"[/.,]", part) if name)


def _at_a_layer(
    path: Key, leaf: Leaf, places: Mapping[Key, list[tuple[Key, Layer]]], shapes: Shapes, *, inside: bool
) -> Layer | None:
    """The layer whose place a path leads through, where the array there has its states along and is none of its own."""
    for length in {*map(len, places)} - {0}:
        for start in range(len(path) - length):
            for node, layer in places.get(path[start : start + length], ()):
                own, rest = inside and path[: len(node)] == node, path[start + length :]
                if not own and _states(layer) in leaf.shape and not _repeats(node, rest, leaf.shape, shapes):
                    return layer
    return None


def _repeats(node: Key, rest: Key, shape: tuple[int, ...], shapes: Shapes) -> bool:
    """Whether an array is that of the model's layer once more, or a moment of it, and carries no states either."""
    own = ((*node, *rest), (*node, *rest[:-1]))
    return any(path in shapes and alike(shape, shapes[path]) for path in own)


def _states(layer: Layer) -> int | None:
    return layer.sizes.states if layer.sizes.states > 1 else None
