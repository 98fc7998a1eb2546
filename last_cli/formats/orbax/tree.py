"""The leaves of one tree, from whichever files describe it, without the data of its stored arrays."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UnknownLayoutError
from last_cli.formats.json_file import read_json_object
from last_cli.formats.msgpack import leaves_of, read_msgpack
from last_cli.formats.orbax.metadata import STRINGS_FILE, TREE_FILE, TreeMetadata, read_tree_metadata
from last_cli.formats.orbax.store import ZarrStore, open_store
from last_cli.formats.types import INCOMPLETE, Key, Leaf, Tree

STRUCTURE_FILE = "checkpoint"
_PLACEHOLDER = "PLACEHOLDER://"


def read_tree(directory: Path) -> Tree:
    """The tree in an Orbax item or a msgpack file; where its form is unknown, Orbax reads it, all of it at once.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return _read_directly(directory)
    except UnknownLayoutError as error:
        if directory.is_file():
            raise
        from last_cli.formats.orbax.recovery import read_by_orbax

        tree = _build({}, read_by_orbax(directory, error), {}, None, {})
        return replace(tree, warnings=(f"{error.args[0]}: all of it was read by Orbax",), writable=False)


def _read_directly(directory: Path) -> Tree:
    if directory.is_file():
        return _build({}, dict(leaves_of(read_msgpack(directory))), {}, None, {})
    metadata = read_tree_metadata(directory / TREE_FILE) if (directory / TREE_FILE).exists() else None
    structure = _structure(directory)
    if metadata is None and not structure:
        return _recovered(directory)
    inline = {key: value for key, value in structure.items() if not _is_placeholder(value)}
    if metadata is None:
        kinds = dict.fromkeys(structure.keys() - inline.keys(), "array")
        names = {key: structure[key].removeprefix(_PLACEHOLDER) for key in kinds}
        metadata = TreeMetadata({}, None, False, False, {})
    else:
        kinds = metadata.kinds
        inline = {key: value for key, value in inline.items() if key in kinds}
        names = {key: ".".join(key) for key, kind in kinds.items() if kind in ("array", "scalar") and key not in inline}
    inline |= _strings(directory, kinds)
    store = _open(directory, metadata, names) if names else None
    return _build(kinds, inline, names, store, metadata.custom)


def _recovered(directory: Path) -> Tree:
    from last_cli.formats.orbax.recovery import tree_of_names

    metadata = tree_of_names(directory, ocdbt=(directory / "manifest.ocdbt").exists())
    names = {key: ".".join(key) for key, kind in metadata.kinds.items() if kind == "array"}
    store = _open(directory, metadata, names)
    tree = _build(metadata.kinds, _strings(directory, metadata.kinds), names, store, {})
    warning = (
        f"{directory}: {TREE_FILE} is missing: {len(tree.leaves)} leaves were recovered from what is stored, their "
        "names split at dots; leaves that are None or empty are lost"
    )
    return replace(tree, warnings=(warning, *tree.warnings))


def _build(
    kinds: Mapping[Key, str],
    inline: Mapping[Key, Any],
    names: Mapping[Key, str],
    store: ZarrStore | None,
    custom: Mapping[str, Any],
) -> Tree:
    leaves = {}
    for key in dict.fromkeys([*kinds, *inline]):
        if store and key in names:
            info = store.arrays[names[key]]
            leaves[key] = Leaf(key, info.shape, info.dtype, kinds[key])
        elif key in inline:
            leaves[key] = _inline_leaf(key, inline[key])
        else:
            leaves[key] = Leaf(key, (), "", kinds[key])
    return Tree(leaves, inline, names, store, custom, store.warnings() if store else ())


def _inline_leaf(key: Key, value: Any) -> Leaf:
    if isinstance(value, np.ndarray):
        return Leaf(key, value.shape, value.dtype.name, "array")
    if isinstance(value, (bool, int, float, complex, np.generic)):
        return Leaf(key, (), np.asarray(value).dtype.name, "scalar")
    return Leaf(key, (), "", "none" if value is None else "string" if isinstance(value, str) else "empty")


def _structure(directory: Path) -> dict[Key, Any]:
    """The leaves of the `checkpoint` file that Orbax wrote until 0.5: values, or placeholders for stored arrays."""
    file = directory / STRUCTURE_FILE
    return dict(leaves_of(read_msgpack(file))) if file.is_file() else {}


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_PLACEHOLDER)


def _strings(directory: Path, kinds: Mapping[Key, str]) -> dict[Key, Any]:
    strings = read_json_object(directory / STRINGS_FILE)
    named = {key: ".".join(key) for key, kind in kinds.items() if kind == "string"}
    return {key: strings[name] for key, name in named.items() if name in strings}


def _open(directory: Path, metadata: TreeMetadata, names: Mapping[Key, str]) -> ZarrStore:
    manifest = (directory / "manifest.ocdbt").exists()
    parts = sorted(directory.glob("ocdbt.process_*/manifest.ocdbt"))
    ocdbt = metadata.ocdbt if metadata.ocdbt is not None else manifest or bool(parts)
    if ocdbt and not manifest:
        recoverable = f"; {parts[0].relative_to(directory)} exists: recoverable" if parts else ""
        raise CheckpointError(
            f"{directory}: the OCDBT manifest (manifest.ocdbt) is missing: the merge did not finish or the copy is "
            f"incomplete{recoverable}",
            "finish it with Orbax's merge_ocdbt_per_process_files, or save it again" if parts else INCOMPLETE,
        )
    return open_store(directory, names.values(), ocdbt=ocdbt, zarr3=metadata.zarr3, strict=metadata.stores_zeros)
