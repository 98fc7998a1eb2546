"""The layers of a checkpoint that can be pruned: found by their leaf names anywhere in the tree, in natural order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from last_cli.base import registry
from last_cli.base.annotations import Shaped
from last_cli.base.errors import CheckpointError
from last_cli.families.family import Family, Sizes
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.system import System
from last_cli.families.target import Shapes, Units, live_units
from last_cli.formats import Key, Leaf

# Parts of a training state that repeat the parameters' structure without being the parameters.
COPIES = re.compile(
    r"opt_state|optimizer(_state)?|inner_states?|inner_opt_state|mu|nu|acc_grads|(.*_)?ema(_.*)?|averaged?(_params)?",
    re.IGNORECASE,
)


LONGEST_NUMBER = 100  # digits in a name; Python refuses to read numbers of thousands

# Below each variable of an NNX state, its array.
VALUE = "value"


@dataclass(frozen=True)
class Layer:
    """One SSM layer: where it is in the tree and what it is.

    Attributes:
        name: the path below the parameters, joined by "/".
        leaves: the family's leaf names -> full keys.
        sizes: of its arrays.
        units: what can be removed from it, by target.
    """

    name: str
    family: Family
    leaves: Mapping[str, Key]
    sizes: Sizes
    units: Mapping[str, Units]

    def carries(self, leaf: str) -> bool:
        """Whether units of any target own entries of this leaf."""
        return any(leaf in units.segments for units in self.units.values())


def layer_of(name: str, family: Family, leaves: Mapping[str, Key], shapes: Shapes) -> Layer:
    """The layer of these leaves.

    Raises:
        CheckpointError: the shapes disagree; without the layer's name.
    """
    sizes = family.sizes(shapes)
    units = {
        target.name: Units(
            *target.units(shapes), {leaf: s for leaf, s in target.segments(shapes).items() if leaf in leaves}
        )
        for target in (family.targets if sizes.states else ())
    }
    return Layer(name, family, leaves, sizes, units)


def find_layers(leaves: Mapping[Key, Leaf]) -> list[Layer]:
    """All SSM layers, layers_10 after layers_9.

    Raises:
        CheckpointError: there is none, or a layer's shapes disagree.
    """
    nodes: dict[Key, dict[str, Key]] = {}
    for key, leaf in leaves.items():
        if leaf.kind == "array":
            variable = key[:-1] if key[-1] == VALUE else key
            nodes.setdefault(variable[:-1], {})[variable[-1] if variable else VALUE] = key
    families = [registry.get("families", name) for name in registry.names("families")]
    found = {node: family for node, names in nodes.items() for family in families if family.matches(names)}
    own = [node for node in sorted(found, key=natural) if not any(COPIES.fullmatch(part) for part in node)]
    names = Counter(_below_params(node) for node in own)
    layers = [
        _layer(node if names[_below_params(node)] > 1 else _below_params(node), found[node], nodes[node], leaves)
        for node in own
    ]
    if not layers:
        raise CheckpointError(
            f"no SSM layer found among {len(leaves)} leaves; seen: {_some_of(leaves)}",
            "layers are found by their leaf names; `last list families` shows which",
        )
    return layers


def companions(
    layers: Iterable[Layer], leaves: Mapping[Key, Leaf], parameters: Mapping[Key, Leaf] | None = None
) -> dict[Key, tuple[Layer, str]]:
    """Leaves that follow a layer's parameters in shape and place: optimizer moments, moving averages.

    `parameters` are the leaves that the layers were found among, where those are not `leaves`.

    Maps the key of each to its layer and the name of the parameter that it follows. A leaf follows a parameter when its
    path ends with the parameter's path below `params`, or the parameter's path ends with what the leaf's has below `mu`
    and the like, and their shapes are equal; of several such parameters, the one that shares most of its path from the
    root.

    Raises:
        CheckpointError: a leaf may follow parameters of several layers.
    """
    parameters = leaves if parameters is None else parameters
    by_tail: dict[Key, list[tuple[Layer, str, Key]]] = {}
    by_end: dict[Key, list[tuple[Layer, str, Key]]] = {}
    for layer in layers:
        for name, key in layer.leaves.items():
            by_tail.setdefault(_below_params(key), []).append((layer, name, key))
            for start in range(len(key) - 1):
                by_end.setdefault(key[start:], []).append((layer, name, key))
    own = {key for follows in by_tail.values() for _, _, key in follows} if parameters is leaves else set()
    longest = max(map(len, by_tail))
    found = {}
    for key, leaf in leaves.items():
        if key in own or leaf.kind != "array":
            continue
        tails = (key[-n:] for n in range(min(longest, len(key)), 0, -1))
        match = next((by_tail[t] for t in tails if t in by_tail), None) or by_end.get(_below_copies(key), [])
        match = [m for m in match if m[0].carries(m[1]) and leaf.shape == parameters[m[2]].shape]
        if match:
            found[key] = _closest(match, key)
    return found


def _closest(match: list[tuple[Layer, str, Key]], key: Key) -> tuple[Layer, str]:
    """The layer and the name of the parameter that shares most of its path with `key`."""
    most = max(_shared(parameter, key) for _, _, parameter in match)
    (layer, name, _), *others = [m for m in match if _shared(m[2], key) == most]
    if others:
        raise CheckpointError(
            f"{'/'.join(key)}: may follow layer {layer.name} or {others[0][0].name}, which lose other states",
            "prune the models one by one: save each with its own optimizer state",
        )
    return layer, name


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
    for name, array in arrays.items():
        _check_real(layer.name, name, array.dtype)
        check_finite(layer.name, name, array)
    if layer.family.system is None:
        raise CheckpointError(f"{layer.name}: a layer of the family '{layer.family.name}' is no linear system")
    system = layer.family.system({name: a.astype(dtype) for name, a in arrays.items()}, config)
    return replace(system, live=live_units(layer.units["states"], arrays))


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


def _layer(called: Key, family: Family, names: Mapping[str, Key], leaves: Mapping[Key, Leaf]) -> Layer:
    own = {name: names[name] for name in sorted(names) if name in family.required | family.optional}
    name = "/".join(called)
    try:
        layer = layer_of(name, family, own, {leaf: leaves[key].shape for leaf, key in own.items()})
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error.args[0]}", _why(family, own, leaves)) from error
    if layer.sizes.states == 0:
        raise CheckpointError(
            f"{name}: the layer has no states, its arrays are empty", "nothing can be scored or pruned there"
        )
    return layer


def _why(family: Family, own: Mapping[str, Key], leaves: Mapping[Key, Leaf]) -> str:
    """What may be wrong with a layer whose shapes disagree: a leading axis too many, or anything else."""
    shapes = {name: leaves[key].shape for name, key in own.items()}
    if all(shapes.values()) and len({shape[0] for shape in shapes.values()}) == 1:
        try:
            family.sizes({name: shape[1:] for name, shape in shapes.items()})
        except (CheckpointError, IndexError):
            pass
        else:
            return (
                f"all its leaves have one more axis, of {next(iter(shapes.values()))[0]}: copies of jax.pmap (save "
                "flax.jax_utils.unreplicate(state)) or layers of nn.scan (save each below a key of its own)"
            )
    return "the layer's leaves do not belong together: was the tree edited or merged?"


def _below_params(key: Key) -> Key:
    """The part of a path after the last `params`, or all of it."""
    at = max((i for i, part in enumerate(key) if part == "params"), default=-1)
    return key[at + 1 :]


def _below_copies(key: Key) -> Key:
    """The part of a path after the last one that says that copies of parameters follow; () where there is none."""
    at = max((i for i, part in enumerate(key) if COPIES.fullmatch(part)), default=len(key))
    return key[at + 1 :]


def _shared(one: Key, other: Key) -> int:
    """How many parts two paths share at the start."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _some_of(leaves: Iterable[Key], n: int = 6) -> str:
    names = ["/".join(key) for key in leaves]
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")
