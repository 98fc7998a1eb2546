"""Trees in flax's msgpack format: the tree stays as it is, only the container changes.

What has no tree, a dictionary of names that are joined as flatten_dict joins them, is split into one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import last_cli.formats as formats
from last_cli.base.arrays import nested
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.convert.keymap import Entry
from last_cli.checkpoint.convert.names import separator_of
from last_cli.formats import Index, Key, Leaf
from last_cli.formats.msgpack import pack_msgpack

_NOTES = {"none": "None", "string": "text", "empty": "an empty node"}


def read(index: Index) -> tuple[dict[Key, np.ndarray], tuple[Entry, ...]]:
    """The arrays by key, and an entry for every leaf; what Orbax would not write, or elsewhere, stands in its entry.

    Raises:
        CheckpointError: a number that no array can hold.
    """
    arrays, mark = formats.read(index), joined_by(index)
    place = {key: (*key[:-1], *key[-1].split(mark)) if mark else key for key in index.leaves}
    entries = [
        _entry(key, place[key], leaf, index.tree.inline.get(key), arrays.get(key)) for key, leaf in index.leaves.items()
    ]
    return {place[key]: array for key, array in arrays.items() if array.size}, tuple(entries)


def joined_by(index: Index) -> str | None:
    """What joins the names of a file without a tree, at its top or below one collection; None where it has a tree."""
    names = [key[-1] for key in index.leaves if key]
    if not names or len({key[:-1] for key in index.leaves}) > 1 or len(next(iter(index.leaves))) > 2:
        return None
    mark = separator_of(names)
    return mark if 2 * sum(mark in name for name in names) > len(names) else None


def restore(entry: Entry, array: np.ndarray | None) -> tuple[Key, Any]:
    """The key and the value of an entry as the file had them; `array` is what the checkpoint holds."""
    if array is None:
        value = np.zeros(entry.shape, entry.dtype) if entry.kind == "array" else entry.value["value"]
        return tuple(entry.value["key"]), value
    value = array.item() if entry.kind == "python" else array[()] if entry.kind == "numpy" else array
    return tuple(entry.value["key"]) if entry.value else entry.targets[0], value


def pack(leaves: Mapping[Key, Any]) -> bytes:
    """The bytes of a tree, from its leaves in order."""
    return pack_msgpack(nested(leaves))


def _entry(key: Key, place: Key, leaf: Leaf, value: Any, array: np.ndarray | None) -> Entry:
    name = "/".join(key)
    if array is not None and array.dtype == object:
        raise CheckpointError(f"{name}: the number {value} fits no array", "store it as text, or as an array")
    stored = array is not None and array.size > 0
    kind = leaf.kind
    if kind == "scalar":
        kind = "numpy" if isinstance(value, np.generic) else "python"
    return Entry(
        source=name,
        targets=(place,) if stored else (),
        shape=leaf.shape,
        dtype=leaf.dtype,
        note="" if stored else f"{_NOTES.get(kind, 'no numbers')}, kept in the key map",
        kind=kind,
        value=None if stored and place == key else {"key": list(key), "value": value if array is None else None},
    )
