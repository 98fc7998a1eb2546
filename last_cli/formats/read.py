"""Index and read a checkpoint: its leaves, the config and the stamp beside them, and the arrays asked for."""

from collections.abc import Iterable, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.arrays import nested
from last_cli.base.errors import CheckpointError
from last_cli.formats.digests import NUMERIC, array_digests, inline_digests, refuse_damage, refuse_lost
from last_cli.formats.format import format_named
from last_cli.formats.locate import locate
from last_cli.formats.stamp import edited
from last_cli.formats.types import Index, Key, Tree


def index(path: Path | str, step: int | None = None, item: str | None = None, *, checked: bool = True) -> Index:
    """The leaves of a checkpoint, without their data, with its config and stamp.

    Args:
        path: a checkpoint, a step of a run, or a run, whose newest step is taken.
        step: which step, where there are several.
        item: which item of it, where several hold a tree.
        checked: refuse, now and when arrays are read, what has another digest than the stamp says.

    Raises:
        CheckpointError: no checkpoint is there, what is there cannot be read, or is not what `last` wrote there.
    """
    location = locate(path, step, item)
    format = format_named(location.format)
    tree = format.read_tree(location)
    beside = format.read_beside(location)
    config = dict(beside.config)
    if tree.custom:
        config["tree_metadata"] = dict(tree.custom)
    warnings = (*beside.warnings, *edited(beside.written), *tree.warnings)
    found = Index(location, tree.leaves, beside.stamp, config, warnings, tree, beside.written, checked, beside.lost)
    refuse_lost(found)
    said = {key: leaf for key, leaf in tree.leaves.items() if leaf.kind not in NUMERIC}
    refuse_damage(found, location.directory, inline_digests(said, tree.inline))
    if leaves := _config_leaves(found):
        config["leaves"] = leaves
    return found


def read(index: Index, keys: Iterable[Key] | None = None) -> dict[Key, np.ndarray]:
    """Arrays of leaves, bit by bit as stored; scalars come as arrays of shape ().

    Args:
        index: of the checkpoint.
        keys: which leaves; None: all that hold numbers.

    Raises:
        CheckpointError: one cannot be read, holds no number, or has another digest than the stamp says; names leaf and
            file.
        KeyError: a key is no leaf.
    """
    if keys is None:
        keys = [key for key, leaf in index.leaves.items() if leaf.kind in NUMERIC]
    keys = list(keys)
    for key in keys:
        if index.leaves[key].kind not in NUMERIC:
            raise CheckpointError(
                f"{index.location.path}: leaf {'/'.join(key)} is no array but {index.leaves[key].kind}"
            )
    arrays = _arrays(index.tree, keys)
    if index.checked and index.written:
        refuse_damage(index, index.location.directory, array_digests(arrays), index.tree.names)
    return arrays


def without(index: Index, keys: Set[Key], items: Set[str] = frozenset()) -> Index:
    """The index of a checkpoint without some leaves and other items of its step: what mirrors it lacks them too."""
    kept = {key: leaf for key, leaf in index.leaves.items() if key not in keys}
    tree = replace(
        index.tree,
        leaves=kept,
        inline={key: value for key, value in index.tree.inline.items() if key in kept},
        names={key: name for key, name in index.tree.names.items() if key in kept},
    )
    location = replace(index.location, items=tuple(item for item in index.location.items if item not in items))
    return replace(index, location=location, leaves=kept, tree=tree)


def _arrays(tree: Tree, keys: list[Key]) -> dict[Key, np.ndarray]:
    stored = [tree.names[key] for key in keys if key in tree.names]
    arrays = tree.store.read(stored) if tree.store and stored else {}
    return {key: arrays[tree.names[key]] if key in tree.names else np.asarray(tree.inline[key]) for key in keys}


def _config_leaves(index: Index) -> dict[str, Any]:
    """The leaves below a key `config`, as LOBS5 keeps its arguments inside the tree, nested as they are there."""
    below = {key: key[key.index("config") + 1 :] for key in index.leaves if "config" in key[:-1]}
    scalars = read(index, [key for key in below if index.leaves[key].kind == "scalar"])
    values: dict[Key, Any] = {key: scalar.item() for key, scalar in scalars.items()}
    values |= {key: index.tree.inline.get(key) for key in below if index.leaves[key].kind in ("string", "none")}
    return nested({path: values[key] for key, path in below.items() if key in values})
