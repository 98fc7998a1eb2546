"""The layers of a checkpoint that can be pruned: found by their leaf names anywhere in the tree, in natural order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from last_cli.base import registry
from last_cli.base.annotations import Shaped
from last_cli.base.errors import CheckpointError
from last_cli.families.copies import Structure, below_params, collection, is_moment, models
from last_cli.families.family import Family
from last_cli.families.followers import followers
from last_cli.families.layer import Layer, layer_of
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.system import System
from last_cli.families.near import (
    Node,
    check_siblings,
    halves_of,
    near_of,
    nearest,
    nodes_of,
    refuse_foreign,
    refuse_halves,
    refuse_near,
)
from last_cli.families.target import live_units
from last_cli.formats import Key, Leaf

LONGEST_NUMBER = 100  # digits in a name; Python refuses to read numbers of thousands


def find_layers(leaves: Mapping[Key, Leaf], files: Mapping[str, Any] = MappingProxyType({})) -> list[Layer]:
    """All SSM layers, layers_10 after layers_9.

    Args:
        leaves: of the tree.
        files: configuration files beside it by name, as in Index.config, for families that depend on what they say.

    Raises:
        CheckpointError: there is none, a layer's shapes disagree, or a node is nearly a layer but none that is known.
    """
    structure = Structure(leaves)
    families = [registry.get("families", name) for name in registry.names("families")]
    nodes = nodes_of(leaves, structure, families)
    found = {path: family for path, node in nodes.items() for family in families if family.matches(node.names)}
    copied = [path for path, family in found.items() if family.copied]
    alone = [path for path, family in found.items() if not family.copied]
    own = sorted([*models(copied, structure), *alone], key=natural)
    bound = {family.name: family.bound(files) if family.bound else family for family in found.values()}
    found = {path: bound[family.name] for path, family in found.items()}
    names = Counter(below_params(path) for path in own)
    layers = []
    for path in own:
        name = "/".join(path if names[below_params(path)] > 1 else below_params(path))
        refuse_foreign(name, found[path], nodes[path])
        layers.append(_layer(name, found[path], nodes[path], structure))
    if not layers:
        raise _none_found(nodes, families, found, leaves)
    others = [node for path, node in nodes.items() if path not in found and not is_moment(path)]
    near, halves = near_of(others, families), halves_of(others, layers)
    if near or halves:  # Most trees have none, and what follows the layers takes a while to tell.
        following = followers(layers, leaves).keys()
        refuse_near([node for node in near if not following >= {*node.names.values()}], families)
        refuse_halves([half for half in halves if not following >= {*half[0].names.values()}], families)
    check_siblings(layers)
    return layers


def build_system(
    layer: Layer,
    arrays: Mapping[str, Shaped[np.ndarray, ...]],
    config: ModelConfig,
    dtype: type[np.floating] = np.float64,
) -> System:
    """The layer's System in numpy, from its leaves by name.

    Raises:
        CheckpointError: a leaf holds NaN or infinite values, or others than real numbers; names layer and leaf.
    """
    check_numbers(layer, arrays)
    if layer.family.system is None:
        raise CheckpointError(f"{layer.name}: a layer of the family '{layer.family.name}' is no linear system")
    system = layer.family.system({name: a.astype(dtype) for name, a in arrays.items()}, config)
    states = layer.units.get("states")  # where a family cannot remove states, all of them are live
    return system if states is None else replace(system, live=live_units(states, arrays))


def check_numbers(layer: Layer, arrays: Mapping[str, Shaped[np.ndarray, ...]]) -> None:
    """Raises CheckpointError where a leaf holds NaN or infinite values, or others than real numbers."""
    for name, array in arrays.items():
        _check_real(layer.name, name, array.dtype)
        check_finite(layer.name, name, array)


def _check_real(layer: str, name: str, dtype: np.dtype) -> None:
    if dtype.kind in "bciu" or dtype.name.startswith(("int", "uint")):  # int4 is of the kind V, as bfloat16 is
        raise CheckpointError(
            f"{layer}: {name} is {dtype.name}, expected real numbers (float32, bfloat16, ...)",
            "quantised or otherwise encoded parameters are not read: take the checkpoint that they were made from",
        )


def check_finite(layer: str, name: str, array: Shaped[np.ndarray, ...]) -> None:
    """Raises CheckpointError where a leaf holds a value that is no finite number."""
    bad = ~np.isfinite(array.astype(np.float64))
    if bad.any():
        nan, first = int(np.isnan(array.astype(np.float64)).sum()), tuple(int(i) for i in np.argwhere(bad)[0])
        kinds = [f"{n} {kind}" for n, kind in ((nan, "NaN"), (int(bad.sum()) - nan, "infinite")) if n]
        where = first[0] if len(first) == 1 else first
        raise CheckpointError(
            f"{layer}: {name} has {' and '.join(kinds)} value{'s' if bad.sum() > 1 else ''} (first at index {where}), "
            "expected finite numbers",
            "the training run diverged or the file is damaged: take an earlier step",
        )


def natural(key: Key) -> tuple[tuple[tuple[int, int | str], ...], ...]:
    """Sort key under which layers_10 comes after layers_9."""
    return tuple(tuple(_part(s) for s in re.split(r"(\d+)", part) if s) for part in key)


def _part(text: str) -> tuple[int, int | str]:
    return (0, int(text)) if text.isdecimal() and len(text) < LONGEST_NUMBER else (1, text)


def _layer(name: str, family: Family, node: Node, structure: Structure) -> Layer:
    own = {leaf: node.names[leaf] for leaf in sorted(node.names) if leaf in family.required | family.optional}
    shapes = {leaf: node.shapes[leaf] for leaf in own}
    for leaf in family.beside:
        key = (*node.path[:-1], *leaf.split("."))
        if key in structure.shapes:
            own[f"../{leaf}"], shapes[f"../{leaf}"] = key, structure.shapes[key]
    try:
        layer = layer_of(name, family, own, shapes)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error.args[0]}", _why(family, node.path, shapes, structure)) from error
    if layer.sizes.states == 0:
        raise CheckpointError(
            f"{name}: the layer has no states, its arrays are empty", "nothing can be scored or pruned there"
        )
    return layer


def _why(family: Family, path: Key, shapes: Mapping[str, tuple[int, ...]], structure: Structure) -> str:
    """What may be wrong with a layer whose shapes disagree: a leading axis too many, or anything else."""
    if all(shapes.values()) and len({shape[0] for shape in shapes.values()}) == 1:
        try:
            family.sizes({name: shape[1:] for name, shape in shapes.items()})
        except (CheckpointError, IndexError):
            pass
        else:
            return _leading_axis(next(iter(shapes.values()))[0], path, structure)
    return "the layer's leaves do not belong together: was the tree edited or merged?"


def _leading_axis(size: int, path: Key, structure: Structure) -> str:
    """What an axis too many of all leaves of a layer is: of the whole model, or of this stack of layers."""
    root = collection(path)
    model = {key: shape for key, shape in structure.below(root).items() if shape and not is_moment(key)}
    inside = path[len(root) :]
    while inside and all(shape[:1] == (size,) for key, shape in model.items() if key[: len(inside) - 1] == inside[:-1]):
        inside = inside[:-1]
    around = [shape[:1] == (size,) for key, shape in model.items() if key[: len(inside)] != inside]
    start = f"all its leaves have one more axis, of {size}: "
    stack = "layers of nn.scan (save each below a key of its own)"
    if 2 * sum(around) < len(around):
        return start + stack
    several = (
        "the models of several seeds, as jax.vmap makes them (save each alone: jax.tree.map(lambda leaf: leaf[0], "
        "params) is the first), or copies of jax.pmap, which are all equal (save flax.jax_utils.unreplicate(state))"
    )
    return start + several + ("" if len(model) > len(structure.below(path)) else f", or {stack}")


def _none_found(
    nodes: Mapping[Key, Node], families: list[Family], found: Mapping[Key, Family], leaves: Mapping[Key, Leaf]
) -> CheckpointError:
    """Why a tree has no layers: the node that came nearest, or what there is instead."""
    what = f"no SSM layer found among {len(leaves)} leaves"
    hint = "layers are found by their leaf names; `last list families` shows which"
    if found:
        first = "/".join(min(found, key=natural))
        return CheckpointError(
            f"{what} but in the state of an optimizer ({first})", "name the item or file that holds the parameters"
        )
    if mark := _joined_by(leaves, families):
        return CheckpointError(
            f"{what}: their names are paths joined by '{mark}'", "`last import FILE CKPT` makes a tree of them"
        )
    if why := nearest(nodes, families):
        return CheckpointError(f"{what}; nearest is {why}", hint)
    names = ["/".join(key) for key in leaves]
    seen = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return CheckpointError(f"{what}; seen: {seen}", hint)


def _joined_by(leaves: Mapping[Key, Leaf], families: list[Family]) -> str | None:
    """The mark at which the names of a flat tree part into paths with layers, if they do."""
    for mark in "/.,":
        nodes: dict[Key, set[str]] = {}
        for key in filter(None, leaves):
            *path, name = (part for joined in key for part in joined.split(mark))
            nodes.setdefault(tuple(path), set()).add(name)
        if any(family.matches(names) for names in nodes.values() for family in families):
            return mark
    return None
