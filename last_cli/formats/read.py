"""Index and read a checkpoint: its leaves, the config and the stamp beside them, and the arrays asked for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.formats.orbax.beside import read_beside, read_stamp
from last_cli.formats.orbax.locate import locate
from last_cli.formats.orbax.store import read_arrays
from last_cli.formats.orbax.tree import Tree, read_tree
from last_cli.formats.types import Index, Key

_NUMERIC = ("array", "scalar")


def index(path: Path | str, step: int | None = None, item: str | None = None) -> Index:
    """The leaves of the checkpoint at `path`, without their data, with its config and stamp.

    Raises CheckpointError where there is no checkpoint, or where what is there cannot be read.
    """
    location = locate(path, step, item)
    tree = read_tree(location.directory)
    config, warnings = read_beside(location)
    if tree.custom:
        config["tree_metadata"] = dict(tree.custom)
    if leaves := _config_leaves(tree):
        config["leaves"] = leaves
    warnings += [*tree.warnings, *_store_warnings(tree)]
    return Index(location, tree.leaves, read_stamp(location), config, tuple(warnings), tree)


def read(index: Index, keys: Iterable[Key] | None = None) -> dict[Key, np.ndarray]:
    """The arrays of the leaves `keys`, bit by bit as stored; None: of all leaves that hold numbers.

    Scalars come as arrays of shape (). Raises CheckpointError, naming leaf and file, where one cannot be read, and
    KeyError for a key that is no leaf.
    """
    if keys is None:
        keys = [key for key, leaf in index.leaves.items() if leaf.kind in _NUMERIC]
    keys = list(keys)
    for key in keys:
        if index.leaves[key].kind not in _NUMERIC:
            raise CheckpointError(
                f"{index.location.path}: leaf {'/'.join(key)} is no array but {index.leaves[key].kind}"
            )
    return _arrays(index.tree, keys)


def _store_warnings(tree: Tree) -> list[str]:
    if tree.store is None:
        return []
    warnings = []
    if unlisted := tree.store.unlisted():
        names = _some(unlisted)
        warnings.append(f"{tree.store.directory}: stored arrays that are no leaf of the tree are passed over: {names}")
    if absent := tree.store.absent():
        what = (
            "missing, and cannot be read"
            if tree.store.strict
            else "not stored and read as zeros; this version of Orbax left out zeros, but a lost file looks the same"
        )
        warnings.append(f"{tree.store.directory}: parts of {_some(absent)} are {what}")
    return warnings


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _arrays(tree: Tree, keys: list[Key]) -> dict[Key, np.ndarray]:
    stored = [tree.names[key] for key in keys if key in tree.names]
    arrays = read_arrays(tree.store, stored) if tree.store and stored else {}
    return {key: arrays[tree.names[key]] if key in tree.names else np.asarray(tree.inline[key]) for key in keys}


def _config_leaves(tree: Tree) -> dict[str, Any]:
    """The leaves below a key `config`, as LOBS5 keeps its arguments inside the tree, nested as they are there."""
    below = {key: key.index("config") + 1 for key in tree.leaves if "config" in key[:-1]}
    scalars = _arrays(tree, [key for key in below if tree.leaves[key].kind == "scalar"])
    config: dict[str, Any] = {}
    for key, start in below.items():
        *parents, name = key[start:]
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        if key in scalars:
            node[name] = scalars[key].item()
        elif tree.leaves[key].kind in ("string", "none"):
            node[name] = tree.inline.get(key)
    return config
