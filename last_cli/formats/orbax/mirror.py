"""Writes a changed copy of a checkpoint that looks like the original: items, step, wrapping, format, metadata."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.formats.digests import inline_digests, refuse_damage, tree_digests
from last_cli.formats.format import Changes
from last_cli.formats.msgpack import leaves_of, pack_msgpack, read_msgpack, with_leaves, without_leaves
from last_cli.formats.orbax.beside import step_directory
from last_cli.formats.orbax.copies import copy_file, copy_tree, leads_out
from last_cli.formats.orbax.locate import UNCOMMITTED, items_in
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


def mirror(source: Index, stage: Path, changes: Changes) -> dict[str, dict[Key, str]]:
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
        return {directory.name: _mirror_file(source, stage / directory.name, changes.leaves)}
    left_out = items_in(step).keys() - set(location.items) if location.items else set()
    if step != directory and step.is_relative_to(root):
        pending = {entry.name for entry in step.iterdir() if UNCOMMITTED in entry.name}
        without = {directory.name, STAMP_FILE, *changes.items, *left_out} | pending
        copy_tree(step, stage / step.relative_to(root), root=root, without=without)
    trees = {directory: _mirror_tree(source, source.tree, directory, stage, changes.leaves)}
    for item, leaves in changes.items.items():
        trees[step / item] = _mirror_tree(source, read_tree(step / item), step / item, stage, leaves)
    if step.is_relative_to(root):
        trees |= _copied_items(source, step, {location.item, *changes.items})
        stamp_step(stage / step.relative_to(root) / STEP_FILE, changes.stamp, left_out)
    return {_place(tree, root): digests for tree, digests in trees.items()}


def _place(tree: Path, root: Path) -> str:
    """The path of a tree in the checkpoint, as stamps have it."""
    return "" if tree == root else tree.relative_to(root).as_posix()


def _copied_items(source: Index, step: Path, without: set[str | None]) -> dict[Path, dict[Key, str]]:
    """The digests of the items that were copied as they are; of one that cannot be read, its files alone have them."""
    found: dict[Path, dict[Key, str]] = {}
    for item in source.location.items:
        if item not in without:
            with contextlib.suppress(CheckpointError):
                found[step / item] = tree_digests(read_tree(step / item))
    for directory, digests in found.items():
        refuse_damage(source, directory, digests)
    return found


def _copy_run(run: Path, stage: Path) -> None:
    """What belongs to a run and to none of its steps; the logs and plots that users keep there do not."""
    for entry in run.iterdir():
        if entry.name == "metadata" and entry.is_dir() and not entry.is_symlink():
            copy_tree(entry, stage / entry.name, root=run)
        elif entry.name == ROOT_FILE or (_is_config(entry) and not leads_out(entry, run)):
            copy_file(entry, stage / entry.name)


def _mirror_tree(
    source: Index, tree: Tree, directory: Path, stage: Path, changed: Mapping[Key, np.ndarray]
) -> dict[Key, str]:
    root = source.location.root
    target = stage / directory.relative_to(root)
    rewritten = {STRUCTURE_FILE, STAMP_FILE}
    if isinstance(tree.store, ZarrStore):
        rewritten |= {TREE_FILE, SHARDING_FILE, ARRAY_METADATA}
    others = {entry.name for entry in directory.iterdir() if not (entry.name in _CARRIED or _is_config(entry))}
    copy_tree(directory, target, root=root, without=others | rewritten)
    inline = {key: changed[key] for key in changed if key in tree.inline}
    digests = inline_digests(tree.leaves, {**tree.inline, **inline}, tree.names)
    if isinstance(tree.store, ZarrStore):
        values = {tree.names[key]: partial(changed.__getitem__, key) for key in changed if key in tree.names}
        stored = replace(tree.store, arrays={name: tree.store.arrays[name] for name in tree.names.values()})
        written = write_arrays(stored, target, values)
        digests |= {key: written[name] for key, name in tree.names.items()}
        as_numpy(directory, target, tree.leaves)
    if (directory / STRUCTURE_FILE).is_file():
        _mirror_msgpack(directory / STRUCTURE_FILE, target / STRUCTURE_FILE, inline, tree.leaves)
    refuse_damage(source, directory, {k: v for k, v in digests.items() if k not in changed}, tree.names)
    return digests


def _mirror_file(source: Index, target: Path, changed: Mapping[Key, np.ndarray]) -> dict[Key, str]:
    """A tree that is one msgpack file."""
    tree, file = source.tree, source.location.directory
    values = {key: changed[key] for key in changed}
    digests = inline_digests(tree.leaves, {**tree.inline, **values})
    refuse_damage(source, file, {k: v for k, v in digests.items() if k not in values})
    _mirror_msgpack(file, target, values, tree.leaves)
    return digests


def _is_config(entry: Path) -> bool:
    return entry.suffix == ".json" and entry.is_file() and not entry.name.endswith(f".{STAMP_FILE}")


def _mirror_msgpack(file: Path, target: Path, changed: Mapping[Key, np.ndarray], kept: Collection[Key]) -> None:
    tree = read_msgpack(file)
    left_out = dict(leaves_of(tree)).keys() - set(kept)
    if changed or left_out:
        target.write_bytes(pack_msgpack(with_leaves(without_leaves(tree, left_out), changed)))
    else:
        copy_file(file, target)
