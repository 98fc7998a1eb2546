"""Writes a changed copy of a checkpoint that looks like the original: items, step, wrapping, format, metadata."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.formats.format import Changes
from last_cli.formats.msgpack import pack_msgpack, read_msgpack, with_leaves
from last_cli.formats.orbax.beside import step_directory
from last_cli.formats.orbax.copies import copy_file, copy_tree, leads_out
from last_cli.formats.orbax.locate import UNCOMMITTED
from last_cli.formats.orbax.metadata import COMMIT_FILE, ROOT_FILE, STEP_FILE, STRINGS_FILE, TREE_FILE
from last_cli.formats.orbax.mirror_metadata import ARRAY_METADATA, SHARDING_FILE, as_numpy, stamp_step
from last_cli.formats.orbax.store import ZarrStore
from last_cli.formats.orbax.tree import STRUCTURE_FILE, read_tree
from last_cli.formats.orbax.write_arrays import write_arrays
from last_cli.formats.types import STAMP_FILE, Index, Key, Tree

# What goes along with a tree as it is, beside configuration in JSON; its arrays and their metadata are written anew.
_CARRIED = {
    *(TREE_FILE, SHARDING_FILE, ARRAY_METADATA, STRINGS_FILE, STEP_FILE, ROOT_FILE, COMMIT_FILE),
    *("orbax.checkpoint", "descriptor"),
}


def mirror(source: Index, stage: Path, changes: Changes) -> None:
    """Writes what lies below the root of the source, of a run the one step that was read; see Format.mirror."""
    location = source.location
    if not source.tree.writable:
        raise CheckpointError(
            f"{location.path}: in a form that only Orbax reads, so it cannot be written back like it was",
            "save it anew: `ocp.PyTreeCheckpointer().save(ABSOLUTE_PATH, tree)` of what Orbax restores; prune that",
        )
    root, directory, step = location.root, location.directory, step_directory(location)
    if root not in (step, directory):
        _copy_run(root, stage)
    if directory.is_file():
        _mirror_msgpack(directory, stage / directory.name, changes.leaves)
        return
    if step != directory and step.is_relative_to(root):
        pending = {entry.name for entry in step.iterdir() if UNCOMMITTED in entry.name}
        without = {directory.name, STAMP_FILE, *changes.items} | pending
        copy_tree(step, stage / step.relative_to(root), root=root, without=without)
    _mirror_tree(source.tree, root, directory, stage, changes.leaves)
    for item, leaves in changes.items.items():
        _mirror_tree(read_tree(step / item), root, step / item, stage, leaves)
    if step.is_relative_to(root):
        stamp_step(stage / step.relative_to(root) / STEP_FILE, changes.stamp)


def _copy_run(run: Path, stage: Path) -> None:
    """What belongs to a run and to none of its steps; the logs and plots that users keep there do not."""
    for entry in run.iterdir():
        if entry.name == "metadata" and entry.is_dir() and not entry.is_symlink():
            copy_tree(entry, stage / entry.name, root=run)
        elif entry.name == ROOT_FILE or (_is_config(entry) and not leads_out(entry, run)):
            copy_file(entry, stage / entry.name)


def _mirror_tree(tree: Tree, root: Path, directory: Path, stage: Path, changed: Mapping[Key, np.ndarray]) -> None:
    target = stage / directory.relative_to(root)
    rewritten = {STRUCTURE_FILE, STAMP_FILE}
    if isinstance(tree.store, ZarrStore):
        rewritten |= {TREE_FILE, SHARDING_FILE, ARRAY_METADATA}
    others = {entry.name for entry in directory.iterdir() if not (entry.name in _CARRIED or _is_config(entry))}
    copy_tree(directory, target, root=root, without=others | rewritten)
    if isinstance(tree.store, ZarrStore):
        values = {tree.names[key]: partial(changed.__getitem__, key) for key in changed if key in tree.names}
        write_arrays(tree.store, target, values)
        as_numpy(directory, target)
    if (directory / STRUCTURE_FILE).is_file():
        inline = {key: changed[key] for key in changed if key in tree.inline}
        _mirror_msgpack(directory / STRUCTURE_FILE, target / STRUCTURE_FILE, inline)


def _is_config(entry: Path) -> bool:
    return entry.suffix == ".json" and entry.is_file() and not entry.name.endswith(f".{STAMP_FILE}")


def _mirror_msgpack(file: Path, target: Path, changed: Mapping[Key, np.ndarray]) -> None:
    if changed:
        target.write_bytes(pack_msgpack(with_leaves(read_msgpack(file), changed)))
    else:
        copy_file(file, target)
