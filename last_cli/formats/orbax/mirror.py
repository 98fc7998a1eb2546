"""Writes a changed copy of a checkpoint that looks like the original: items, step, wrapping, format, metadata."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.formats.format import Changes
from last_cli.formats.msgpack import leaves_of, pack_msgpack, read_msgpack, with_leaves, without_leaves
from last_cli.formats.orbax.beside import step_directory
from last_cli.formats.orbax.locate import UNCOMMITTED, items_in
from last_cli.formats.orbax.metadata import ROOT_FILE, STEP_FILE, TREE_FILE
from last_cli.formats.orbax.mirror_metadata import ARRAY_METADATA, SHARDING_FILE, as_numpy, stamp_step
from last_cli.formats.orbax.parts import is_part
from last_cli.formats.orbax.store import ZarrStore
from last_cli.formats.orbax.tree import STRUCTURE_FILE, read_tree
from last_cli.formats.orbax.write_arrays import write_arrays
from last_cli.formats.types import STAMP_FILE, Index, Key, Tree

_DATABASE = {"manifest.ocdbt", "d", "ocdbt_data", "ocdbt_meta"}


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
        _mirror_msgpack(directory, stage / directory.name, changes.leaves, source.leaves)
        return
    left_out = items_in(step).keys() - set(location.items) if location.items else set()
    if step != directory and step.is_relative_to(root):
        _copy(step, stage / step.relative_to(root), without={directory.name, STAMP_FILE, *changes.items, *left_out})
    _mirror_tree(source.tree, directory, stage / directory.relative_to(root), changes.leaves)
    for item, leaves in changes.items.items():
        _mirror_tree(read_tree(step / item), step / item, stage / (step / item).relative_to(root), leaves)
    if step.is_relative_to(root):
        stamp_step(stage / step.relative_to(root) / STEP_FILE, changes.stamp, left_out)


def _copy_run(run: Path, stage: Path) -> None:
    """What belongs to a run and to none of its steps; the logs and plots that users keep there do not."""
    for entry in run.iterdir():
        if entry.name == "metadata" and entry.is_dir():
            shutil.copytree(entry, stage / entry.name)
        elif entry.is_file() and (entry.name == ROOT_FILE or entry.suffix == ".json"):
            shutil.copy2(entry, stage / entry.name)


def _copy(directory: Path, target: Path, without: set[str]) -> None:
    """Copies what lies in `directory` but the entries `without`."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in directory.iterdir():
        if entry.name in without or UNCOMMITTED in entry.name:
            continue
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name)
        else:
            shutil.copy2(entry, target / entry.name)


def _mirror_tree(tree: Tree, directory: Path, target: Path, changed: Mapping[Key, np.ndarray]) -> None:
    arrays = {name.partition("/")[0] for name in tree.names.values()}
    processes = {entry.name for entry in directory.glob("ocdbt.process_*")}
    rewritten = {STRUCTURE_FILE, STAMP_FILE}
    if isinstance(tree.store, ZarrStore):
        rewritten |= {TREE_FILE, SHARDING_FILE, ARRAY_METADATA}
    strangers = {entry.name for entry in directory.iterdir() if not is_part(entry)}
    _copy(directory, target, without=strangers | arrays | processes | _DATABASE | rewritten)
    if isinstance(tree.store, ZarrStore):
        values = {tree.names[key]: partial(changed.__getitem__, key) for key in changed if key in tree.names}
        stored = replace(tree.store, arrays={name: tree.store.arrays[name] for name in tree.names.values()})
        write_arrays(stored, target, values)
        as_numpy(directory, target, tree.leaves)
    if (directory / STRUCTURE_FILE).is_file():
        inline = {key: changed[key] for key in changed if key in tree.inline}
        _mirror_msgpack(directory / STRUCTURE_FILE, target / STRUCTURE_FILE, inline, tree.leaves)


def _mirror_msgpack(file: Path, target: Path, changed: Mapping[Key, np.ndarray], kept: Collection[Key]) -> None:
    tree = read_msgpack(file)
    left_out = dict(leaves_of(tree)).keys() - set(kept)
    if changed or left_out:
        target.write_bytes(pack_msgpack(with_leaves(without_leaves(tree, left_out), changed)))
    else:
        shutil.copy2(file, target)
