"""Weights that were trained in somebody's own code, on their way back into the checkpoint that they came from."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import last_cli.formats as formats
from last_cli.base.errors import UsageError
from last_cli.base.words import some
from last_cli.families.copies import below_params, is_moment, variable
from last_cli.families.layer import Layer
from last_cli.families.network import shared_network
from last_cli.formats import Index, Key, Leaf, dtype_of

Variables = Mapping[str, Any]
Arrays = dict[Key, np.ndarray]
Beside = Mapping[str, Mapping[Key, np.ndarray]]
Read = Callable[[Iterable[Key]], Arrays]

TRAINED = "trained"
"""What a link of a stamp's chain is called."""

HINT = "give what `build_model` gave, trained: {'params': ..., 'batch_stats': ...}"


def new_arrays(variables: Variables, layers: Sequence[Layer], leaves: Mapping[Key, Leaf], read: Read) -> Arrays:
    """The arrays that differ from those of the checkpoint, in the types that it stores.

    Args:
        variables: nested, as Flax has them.
        layers: the checkpoint's.
        leaves: the same.
        read: gives its arrays.

    Raises:
        CheckpointError: the layers are in no network that is known.
        UsageError: paths are missing or unknown, a shape is another one, or numbers are not finite.
    """
    arrays = {key: key for key, leaf in leaves.items() if leaf.kind == "array"}
    keys, given = shared_network(layers).variables(arrays, layers), dict(_flat(variables))
    missing, unknown = [["/".join(path) for path in a if path not in b] for a, b in ((keys, given), (given, keys))]
    if missing or unknown:
        wrong = {"missing": missing, "unknown": unknown}
        said = "; ".join(f"{what}: {some(paths)}" for what, paths in wrong.items() if paths)
        raise UsageError(f"⟨variables⟩ are not those of the model: {said}", HINT)
    found = {keys[path]: _checked(path, value, leaves[keys[path]]) for path, value in given.items()}
    before = read(keys.values())
    return {key: array for key, array in found.items() if not _same(array, before[key])}


def cleared(changed: Collection[Key], leaves: Mapping[Key, Leaf]) -> Arrays:
    """Zeros for an optimizer's moments of these leaves: they are of a way that was not gone. Its counters stay."""
    ends = {below_params(variable(key)) for key in changed}
    found = {}
    for key, leaf in leaves.items():
        if leaf.kind == "array" and is_moment(key) and not np.issubdtype(dtype := dtype_of(leaf.dtype), np.integer):
            paths = variable(key), variable(key)[:-1]  # factored moments stand one part below
            if any(path[start:] in ends for path in paths for start in range(len(path))):
                found[key] = np.zeros(leaf.shape, dtype)
    return found


def cleared_beside(changed: Collection[Key], index: Index, also: Beside) -> dict[str, Mapping[Key, np.ndarray]]:
    """The same for the other items of the step, such as an optimizer state saved beside the parameters, by item."""
    location, found = index.location, dict(also)
    for name in location.items:
        if name != location.item:
            cut = also.get(name, {})
            leaves = formats.index(location.path, location.step, name).leaves
            leaves = {key: replace(f, shape=cut[key].shape) if key in cut else f for key, f in leaves.items()}
            if zeros := cleared(changed, leaves):
                found[name] = ChainMap(zeros, dict(cut))
    return found


def link(layers: Sequence[Layer], changed: Collection[Key]) -> dict[str, Any]:
    """The link of a stamp's chain: like a pruning that keeps all units, after which some leaves are other ones."""
    target = layers[0].family.targets[0].name
    return {
        "criterion": TRAINED,
        "method": TRAINED,
        "ratio": 0.0,
        **({} if target == "states" else {"target": target}),
        "trained": sorted("/".join(key) for key in changed),
        "layers": [_all_kept(layer) for layer in layers],
    }


def _all_kept(layer: Layer) -> dict[str, Any]:
    target = layer.family.targets[0]
    units = layer.units[target.name]
    rows = [[*range(units.count)]] * units.groups
    kept = [*range(units.count * units.groups)] if target.flat else rows[0] if units.groups == 1 else rows
    return {"name": layer.name, "before": units.count, "kept": kept}


def _flat(variables: Any, path: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Arrays by path."""
    if isinstance(variables, Mapping):
        for name, inner in variables.items():
            yield from _flat(inner, (*path, str(name)))
    else:
        yield path, variables


def _checked(path: Key, value: Any, leaf: Leaf) -> np.ndarray:
    array = np.asarray(value)
    if array.shape != leaf.shape:
        raise UsageError(f"{'/'.join(path)}: has shape {array.shape}, expected {leaf.shape}", HINT)
    if wrong := int((~np.isfinite(array.astype(np.float64))).sum()):
        raise UsageError(
            f"{'/'.join(path)}: {wrong:,} of {array.size:,} numbers are not finite", "did training diverge?"
        )
    return array.astype(dtype_of(leaf.dtype))


def _same(array: np.ndarray, before: np.ndarray) -> bool:
    """Whether training left an array as it was, in the single precision of training."""
    return np.array_equal(array.astype(np.float32), before.astype(np.float32))
