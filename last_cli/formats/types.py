"""What a checkpoint is to the rest of `last`: where it lies, and what leaves it has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from last_cli.formats.orbax.store import Store

Key = tuple[str, ...]
"""The path of a leaf in the tree. A tuple, because the names in it may contain `.` and `/`."""

STAMP_FILE = "last.json"
"""The file at the root of a checkpoint that `last` wrote: how it was made."""


@dataclass(frozen=True)
class Leaf:
    """One leaf of the tree, known without its data.

    `kind` is "array", "scalar" (a Python or numpy number), "string", "none", or "empty" (an empty dict, list or
    tuple); `shape` is () and `dtype` is "" where there is no number.
    """

    key: Key
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True)
class Location:
    """Where a checkpoint lies.

    `path` is what the user named; `directory` is the directory (or msgpack file) that holds the tree; `root` is what
    the user thinks of as the checkpoint, and what is mirrored on writing. `layout` names the format of the tree:
    "orbax-ocdbt", "orbax-zarr", "orbax-msgpack" or "msgpack". `notes` say what was chosen and what passed over. `items`
    are all items of the step that hold a tree.
    """

    path: Path
    directory: Path
    root: Path
    step: int | None
    item: str | None
    layout: str
    notes: tuple[str, ...] = ()
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """The leaves of one tree, and where their values are.

    `inline` holds the values that came with the tree (strings, and the numbers of a msgpack tree); `names` maps the
    other numeric leaves to the arrays of `store`. `custom` is the user's metadata of the tree. `warnings` say how it
    was read where that was not as usual; `by_orbax`: Orbax read all of it, in a form that cannot be written back.
    """

    leaves: Mapping[Key, Leaf]
    inline: Mapping[Key, Any]
    names: Mapping[Key, str]
    store: Store | None
    custom: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    by_orbax: bool = False


@dataclass(frozen=True)
class Index:
    """The leaves of a checkpoint and what lies beside them; no array data.

    `config` maps where something was found to what was found there: "custom_metadata" (of the step), "tree_metadata"
    (of the tree), "root_metadata" (of the run), "item:NAME" (a JSON item), "file:NAME" (a JSON file), "leaves" (the
    leaves below a key `config`). `stamp` is what `last` wrote when it made the checkpoint, None where it did not.
    """

    location: Location
    leaves: Mapping[Key, Leaf]
    stamp: dict[str, Any] | None
    config: dict[str, Any]
    warnings: tuple[str, ...]
    tree: Tree = field(repr=False)
