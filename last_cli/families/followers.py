"""Arrays that follow a layer's parameters: moments of an optimizer, whole or factored, and other sets of weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.families.copies import (
    Structure,
    axes_left_out,
    closeness,
    is_average,
    is_inside,
    is_moment,
    is_optimizer,
    roots,
    variable,
)
from last_cli.families.layer import Layer
from last_cli.formats import Key, Leaf


@dataclass(frozen=True)
class Follower:
    """What an array follows.

    Attributes:
        layer, leaf: the layer, and the name of the parameter in it.
        parameter: its key.
        root, of: where the subtrees begin that hold the array, and the parameter.
        without: the axis of the parameter that the array lacks, as factored moments do; None where it has them all.
    """

    layer: Layer
    leaf: str
    parameter: Key
    root: Key
    of: Key
    without: int | None = None


def followers(
    layers: Iterable[Layer], leaves: Mapping[Key, Leaf], parameters: Mapping[Key, Leaf] | None = None
) -> dict[Key, Follower]:
    """The arrays among `leaves` that follow the layers' parameters in place and shape, by key.

    An array follows a parameter when their paths end alike and its subtree repeats the model; what was saved of it may
    stand one part below, as in `kernel/v_row`. The longest common end decides, then what the paths share besides.

    Args:
        layers: what may be followed.
        leaves: of a tree, the layers' own or that of another item of the step.
        parameters: the leaves that the layers were found among, where those are not `leaves`.

    Raises:
        CheckpointError: an array may follow parameters of several layers.
    """
    layers = [layer for layer in layers if layer.family.copied]
    if not layers:
        return {}
    model, found = Structure(parameters or leaves), {}
    tree = model if parameters is None or parameters is leaves else Structure(leaves)
    ends: dict[Key, list[tuple[Layer, str, Key]]] = {}
    own, carried = set(), set()
    for layer in layers:
        for name, key in layer.leaves.items():
            own.add(key)
            path = variable(key)
            if layer.carries(name):
                carried.add(path[-1])
            for start in range(len(path)):
                ends.setdefault(path[start:], []).append((layer, name, key))
    for key, leaf in leaves.items():
        if leaf.kind == "array" and not (tree is model and key in own):
            path = variable(key)
            paths = (p for p in (path, path[:-1]) if p and p[-1] in carried)
            match = next(filter(None, (_matches(p, leaf.shape, ends, tree, model) for p in paths)), None)
            if match:
                found[key] = _closest(match, key)
    return found


def other_weights(layers: Sequence[Layer], found: Mapping[Key, Follower]) -> Iterator[str]:
    """What is said of other sets of the layers' weights, such as a target network or an average: a line for each.

    Args:
        layers: of the model.
        found: what follows their parameters.
    """
    whole: dict[tuple[Key, Key], set[tuple[str, str]]] = {}
    for follower in found.values():
        if follower.without is None and not is_optimizer(follower.root, follower.of):
            whole.setdefault((follower.root, follower.of), set()).add((follower.layer.name, follower.leaf))
    carried = {layer.name: {leaf for leaf in layer.leaves if layer.carries(leaf)} for layer in layers}
    for (root, of), carriers in whole.items():
        if any({leaf for name, leaf in carriers if name == layer} == own for layer, own in carried.items()):
            model = "/".join(of) or "the model"
            average, again = f"an average of {model}, which loses", f"the weights of {model} once more, which lose"
            said = average if is_average(root, of) else again
            yield f"{'/'.join(root)}: {said} the same states"


def check_moments(found: Mapping[Key, Follower], leaves: Mapping[Key, Leaf]) -> None:
    """Looks for what the moments of a layer lack that those of its neighbours have, or its own other moments.

    Args:
        found: what follows the layers' parameters among `leaves`.
        leaves: of a tree.

    Raises:
        CheckpointError: a leaf was lost; names it.
    """
    paths = [variable(key) for key, leaf in leaves.items() if leaf.kind == "array"]
    there = {*paths, *(path[:-1] for path in paths)}  # Factored moments stand one part below.
    sets = {(each.root, each.of, each.layer.name): each.layer for each in found.values()}
    stacks: dict[Key, dict[Key, set[str]]] = {}
    for (root, of, _), layer in sets.items():
        if is_optimizer(root, of):
            own = {name: variable(key)[len(of) :] for name, key in layer.leaves.items()}
            place = (*root, *next(iter(own.values()))[:-1])
            have = {name for name, rest in own.items() if (*root, *rest) in there}
            alike = tuple(re.sub(r"\d+", "#", "mu" if part == "nu" else part) for part in place)
            stacks.setdefault(alike, {})[place] = have
    for stack in stacks.values():
        fullest = max(stack, key=lambda place: len(stack[place]))
        for place, have in stack.items():
            if lost := sorted(stack[fullest] - have):
                raise CheckpointError(
                    f"{'/'.join(place)}: has no {', '.join(lost)}, but {'/'.join(fullest)} has",
                    "a leaf was lost on the way here: take another copy, or ⟦drop⟧ the optimizer's state, which "
                    "training makes anew",
                )


def _matches(
    path: Key,
    shape: tuple[int, ...],
    ends: Mapping[Key, list[tuple[Layer, str, Key]]],
    tree: Structure,
    model: Structure,
) -> list[Follower]:
    """What an array may follow, by the longest end of its path that any parameter has."""
    seen: set[tuple[Key, Key]] = set()
    for start in range(len(path)):
        match, tried = [], set()
        for layer, name, key in ends.get(path[start:], ()):
            of, root = roots(variable(key), path)
            tried.add((of, root))
            if is_inside(of, root, seen):
                continue
            axes = _axes(shape, model.shapes[variable(key)], path)
            if axes and layer.carries(name) and _is_copy(root, of, tree, model):
                match.append(Follower(layer, name, key, root, of, *axes))
        if match:
            whole = [m for m in match if tree.repeats(m.root, model, m.of)]
            return whole or match
        seen |= tried
    return []


def _is_copy(root: Key, of: Key, tree: Structure, model: Structure) -> bool:
    """Whether the subtree at `root` repeats the model's; in another item of the step no model is looked for."""
    return tree.is_copy(root, of) if tree is model else is_moment(root) or tree.repeats(root, model, of)


def _axes(shape: tuple[int, ...], parameter: tuple[int, ...], path: Key) -> list[int | None]:
    """What of a parameter's axes an array lacks: [None] for nothing, one axis, or [] where that cannot be told."""
    if shape == parameter:
        return [None]
    left_out = axes_left_out(shape, parameter)
    if len(left_out) > 1:  # Two axes of equal size: Adafactor takes its rows over the last of the two largest.
        *_, second, largest = np.argsort(parameter, kind="stable")
        axis = {"v_row": largest, "v_col": second}.get(next((p for p in path if p in ("v_row", "v_col")), ""))
        return [] if axis is None else [int(axis)]
    return list(left_out)


def _closest(match: list[Follower], key: Key) -> Follower:
    """The one whose parameter shares most of its path with `key`."""
    nearness = [closeness(variable(m.parameter), variable(key)) for m in match]
    first, *others = [m for m, near in zip(match, nearness, strict=True) if near == max(nearness)]
    if others:
        raise CheckpointError(
            f"{'/'.join(key)}: may follow layer {first.layer.name} or {others[0].layer.name}, which lose other states",
            "prune the models one by one: save each with its own optimizer state, or leave it out with ⟦drop⟧",
        )
    return first
