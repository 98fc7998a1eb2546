"""Arrays outside of a model that hold its states, though no family knows them: caches of decoding, hidden states."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from last_cli.families.copies import Structure, alike, below_params, variable
from last_cli.families.layer import Layer
from last_cli.formats import Key, Leaf


def carriers(
    layers: Iterable[Layer], leaves: Mapping[Key, Leaf], known: Container[Key], parameters: Mapping[Key, Leaf]
) -> dict[Key, Layer]:
    """The arrays that have as many entries along an axis as a layer has states, and its place or complex numbers.

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
    for key, leaf in leaves.items():
        if leaf.kind == "array" and leaf.shape and key not in known:
            layer = _at_a_layer(variable(key), leaf, places, model, inside=leaves is parameters)
            if layer is None and leaf.dtype.startswith("complex") and "params" not in key:
                layer = next((y for own in places.values() for _, y in own if leaf.shape[-1] == _states(y)), None)
            if layer is not None:
                found[key] = layer
    return found


def _at_a_layer(
    path: Key, leaf: Leaf, places: Mapping[Key, list[tuple[Key, Layer]]], model: Structure, *, inside: bool
) -> Layer | None:
    """The layer whose place a path leads through, where the array there has its states along and is none of its own."""
    for length in {len(place) for place in places if place}:
        for start in range(len(path) - length):
            for node, layer in places.get(path[start : start + length], ()):
                own, rest = inside and path[: len(node)] == node, path[start + length :]
                if not own and _states(layer) in leaf.shape and not _repeats(node, rest, leaf.shape, model):
                    return layer
    return None


def _repeats(node: Key, rest: Key, shape: tuple[int, ...], model: Structure) -> bool:
    """Whether an array is that of the model's layer once more, or a moment of it, and carries no states either."""
    own = ((*node, *rest), (*node, *rest[:-1]))
    return any(path in model.shapes and alike(shape, model.shapes[path]) for path in own)


def _states(layer: Layer) -> int | None:
    return layer.sizes.states if layer.sizes.states > 1 else None
