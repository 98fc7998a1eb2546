"""From a file of weights to a checkpoint that `last` scores and prunes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import last_cli.checkpoint.convert.msgpack_file as msgpack_file
import last_cli.checkpoint.convert.transforms as transforms
import last_cli.formats as formats
from last_cli.base.errors import CheckpointError
from last_cli.base.files import regular
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import load
from last_cli.checkpoint.convert.carried import LEFT, taken_out
from last_cli.checkpoint.convert.keymap import Entry, KeyMap, LayerMap, copy_key
from last_cli.checkpoint.convert.names import HINT, find_modules, node_of, separator_of, to_key
from last_cli.families.find import Layer, find_layers
from last_cli.formats import Key, Leaf, safetensors, torch_file
from last_cli.formats.stamp import STAMP_SCHEMA
from last_cli.results.convert import File, ImportReport, KeyRow

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")

OURS = ("assumed", "tree")
"""Origins of what nothing but we say of a configuration."""

# Names that begin so are those of a tree of ours: they are not put below `params` once more.
_COLLECTIONS = ("params", "batch_stats")


def import_weights(
    src: str | Path,
    out: str | Path,
    *,
    force: bool = False,
    real_transform: str = "exp",
    dt_transform: str = "exp",
) -> ImportReport:
    """Write the Orbax checkpoint `out` from a .safetensors, PyTorch or flax msgpack file.

    The SSM layers of state-spaces/s4 (diagonal) and s5-pytorch get our leaf names; every other tensor is carried along
    under its own name, split at the dots, slashes or commas in it. How to get the file back is in the stamp, under
    "imported". What an export sent along, such as configuration, task and vocabulary, is in the stamp again.

    Args:
        src: the file.
        out: the checkpoint to write.
        force: replace a checkpoint that is there already.
        real_transform: of the real parts in the full S4 repository, which its files do not say: "exp" (its default),
            "none", "relu", "sigmoid" or "softplus".
        dt_transform: of the steps, likewise.

    Raises:
        CheckpointError: the file cannot be read, would have to be unpickled, has no SSM layer, or has SSM parameters
            that we do not know; names the first of them.
        UsageError: PyTorch is needed and not installed, or there is no such transform.
        OutputError: the output exists (unless `force`) or cannot be written; nothing is left behind.
    """
    src, out = Path(src), Path(out)
    options = {"real_transform": real_transform, "dt_transform": dt_transform}
    for option, transform in options.items():
        transforms.check(option, transform)
    read = _read(src, options)
    layers = _layers(src, read.arrays)
    formats.save(out, source=None, changed=read.arrays, stamp=_stamp(read), force=force)
    left = [f"{src}: {', '.join(read.left_out)} beside the weights: left out"] if read.left_out else []
    return ImportReport(
        source=File(str(src), read.keymap.format),
        output=str(out),
        family="+".join(dict.fromkeys(layer.family.kind for layer in layers)),
        layers=[layer.name for layer in layers],
        keys=[_row(entry) for entry in read.keymap.entries],
        assumed={name: value for name, value in read.assumed.items() if name not in _said(read.stamp)},
        left_out=read.left_out,
        warnings=[*read.warnings, *left],
    )


@dataclass(frozen=True)
class _Read:
    """A file as a tree of ours."""

    arrays: Mapping[Key, np.ndarray]
    keymap: KeyMap
    model: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    stamp: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def _read(src: Path, options: Mapping[str, str]) -> _Read:
    if src.is_file() and src.suffix == ".safetensors":
        tensors, header = safetensors.read(src)
        stamp, metadata, warnings = taken_out(src, header, tensors)
        found = _converted(src, tensors, KeyMap("safetensors", (), metadata=metadata), options)
        return replace(found, stamp=stamp, warnings=warnings)
    if src.is_file() and (src.suffix in TORCH_SUFFIXES or _is_zip(src)):
        file = torch_file.read(src)
        found = _converted(src, file.tensors, KeyMap("torch", (), wrapper=file.wrapper), options, file.left_out)
        stamp, _, warnings = taken_out(src, {}, file.tensors)
        return replace(found, stamp=stamp, warnings=warnings)
    index = formats.index(src)
    if index.location.layout != "msgpack":
        raise CheckpointError(
            f"{src}: is an Orbax checkpoint already, expected a .safetensors, PyTorch or msgpack file",
            "`last score` and `last prune` read it as it is",
        )
    arrays, entries = msgpack_file.read(index)
    if msgpack_file.joined_by(index):
        return _Read(arrays, KeyMap("msgpack", entries), stamp=index.stamp or {}, warnings=index.warnings)
    found = load(src)
    said = {name: getattr(found.config, name) for name, origin in found.origins.items() if origin not in OURS}
    return _Read(arrays, KeyMap("msgpack", entries), said, stamp=found.stamp, warnings=index.warnings)


def _converted(
    src: Path,
    tensors: Mapping[str, np.ndarray],
    keymap: KeyMap,
    options: Mapping[str, str],
    left_out: tuple[str, ...] = (),
) -> _Read:
    try:
        return _as_tree(tensors, keymap, options, left_out)
    except CheckpointError as error:
        raise CheckpointError(f"{src}: {error.args[0]}", error.args[1] or HINT) from error


def _as_tree(
    tensors: Mapping[str, np.ndarray], keymap: KeyMap, options: Mapping[str, str], left_out: tuple[str, ...]
) -> _Read:
    """The tensors as a tree: SSM layers converted, the rest carried along."""
    mark = separator_of(tensors)
    rooted = any(name.startswith(tuple(f"{part}{mark}" for part in _COLLECTIONS)) for name in tensors)
    arrays: dict[Key, np.ndarray] = {}
    entries: dict[str, Entry] = {}
    model: dict[str, Any] = {}
    assumed: dict[str, Any] = {}
    layers = []
    for module in find_modules(tensors, mark):
        node = node_of(module, rooted, mark)
        converted = module.layout.to_leaves(
            module.names, {role: tensors[name] for role, name in module.names.items()}, options
        )
        _add(arrays, {(*node, leaf): array for leaf, array in converted.leaves.items()})
        copies = {copy_key(name, node, leaf): array for name, (leaf, array) in converted.copies.items()}
        _add(arrays, copies)
        for role, name in module.names.items():
            targets = tuple((*node, leaf) for leaf in converted.holds[role])
            entries[name] = _entry(name, tensors[name], targets, converted.notes.get(role, ""))
        layers.append(LayerMap(module.layout.name, node, dict(module.names), dict(options)))
        model |= converted.model
        assumed |= converted.assumed
    for name, array in tensors.items():
        if name not in entries:
            key = to_key(name, rooted, mark)
            entries[name] = _entry(name, array, (key,) if array.size else (), "" if array.size else "no numbers")
            if array.size:  # Orbax writes no array of no numbers.
                _add(arrays, {key: array})
    _check_nesting(arrays)
    entries = {name: entries[name] for name in tensors}
    said = {"model": model, "assumed": sorted(model.keys() & assumed.keys())}
    keymap = replace(keymap, entries=tuple(entries.values()), layers=tuple(layers), said=said)
    return _Read(arrays, keymap, model, assumed, left_out)


def _add(arrays: dict[Key, np.ndarray], new: Mapping[Key, np.ndarray]) -> None:
    for key, array in new.items():
        if key in arrays:
            raise CheckpointError(f"{'/'.join(key)}: two tensors would lie there", "rename one of them")
        arrays[key] = array


def _check_nesting(arrays: Mapping[Key, np.ndarray]) -> None:
    for key in arrays:
        if clash := next((key[:n] for n in range(1, len(key)) if key[:n] in arrays), None):
            raise CheckpointError(
                f"{'/'.join(clash)}: is a tensor, and {'/'.join(key)} would lie below it", "rename one of them"
            )


def _entry(name: str, array: np.ndarray, targets: tuple[Key, ...], note: str) -> Entry:
    return Entry(name, targets, array.shape, array.dtype.name, note)


def _layers(src: Path, arrays: Mapping[Key, np.ndarray]) -> list[Layer]:
    """The layers that `last` will find in the output; raises CheckpointError, naming the file, where it would not."""
    leaves = {key: Leaf(key, array.shape, array.dtype.name, "array") for key, array in arrays.items()}
    try:
        return find_layers(leaves)
    except CheckpointError as error:
        raise CheckpointError(f"{src}: {error.args[0]}", HINT) from error


def _stamp(read: _Read) -> dict[str, Any]:
    before = {name: value for name, value in read.stamp.items() if name not in LEFT}
    said = _said(before)
    guessed = {*(before.get("assumed") or [])} | (read.model.keys() & read.assumed.keys())
    return {
        **before,
        "schema": STAMP_SCHEMA,
        "last": __version__,
        "model": {**(before.get("model") or {}), **read.model, **said},
        "assumed": sorted(guessed - said.keys()),
        "imported": read.keymap.as_stamp(),
    }


def _said(stamp: Mapping[str, Any]) -> dict[str, Any]:
    """What a stamp says of the model, and not only because somebody guessed it."""
    guessed = stamp.get("assumed") or []
    return {name: value for name, value in (stamp.get("model") or {}).items() if name not in guessed}


def _row(entry: Entry) -> KeyRow:
    target = ", ".join("/".join(key) for key in entry.targets)
    return KeyRow(entry.source, target, entry.shape, entry.dtype, entry.note)


def _is_zip(path: Path) -> bool:
    try:
        with regular(path).open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:  # Whoever reads it says so.
        return False
