"""Writes a changed copy of a model directory: the same files, names, dtypes and order, streamed tensor by tensor."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.files import resolved
from last_cli.formats import safetensors, torch_state, torch_zip
from last_cli.formats.digests import array_digest, refuse_damage
from last_cli.formats.format import Changes
from last_cli.formats.huggingface.locate import CONFIG, INDEXES, index_file, is_weights, leads_out, left_out
from last_cli.formats.huggingface.store import File, TensorStore, total
from last_cli.formats.json_file import read_json_object
from last_cli.formats.settings import put
from last_cli.formats.torch_zip import TorchZip
from last_cli.formats.types import STAMP_FILE, Index, Key, dtype_of


@dataclass(frozen=True)
class _Entry:
    """A tensor of a file that is written: its key, dtype and shape; and its name in the source, if it is there."""

    key: Key
    dtype: np.dtype
    shape: tuple[int, ...]
    source: str | None


_Entries = dict[str, _Entry]
"""The tensors of a file by their names, in its order."""


def mirror(source: Index, stage: Path, changes: Changes) -> dict[str, dict[Key, str]]:
    """Writes all of a directory: weights anew, settings with their changes, every other file as it is or is to be."""
    store, sizes = source.tree.store, changes.sizes
    assert isinstance(store, TensorStore)
    keys = {name: key for key, name in source.tree.names.items()}
    directory, weights = source.location.directory, {file.path.name for file in store.files}
    for name in sorted(weights | {CONFIG, *INDEXES, *sizes.settings}):
        _refuse_link_out(directory / name)
    for entry in own_files(directory, weights | sizes.files.keys()):
        if entry.name in sizes.settings:
            _write_settings(entry, stage / entry.name, sizes.settings[entry.name])
        else:
            shutil.copyfile(entry, stage / entry.name)
    for name, file in sizes.files.items():
        if file is not None:
            shutil.copyfile(file, stage / name)
    digests: dict[Key, str] = {}
    written = {file.path.name: _entries(file, keys, changes) for file in store.files}
    _add(written, changes)
    for file in store.files:
        if entries := written[file.path.name]:
            _write_file(file, stage / file.path.name, entries, changes, digests)
    if index := index_file(directory):
        _write_index(index, stage / index.name, written)
    refuse_damage(source, directory, {key: said for key, said in digests.items() if key not in changes.leaves})
    return {"": digests}


def _entries(file: File, keys: Mapping[str, Key], changes: Changes) -> _Entries:
    """What becomes of the tensors of a file."""
    found: _Entries = {}
    for name, tensor in file.tensors.items():
        old = keys.get(name)
        if old is None or (key := changes.sizes.names.get(old, old)) is None:
            continue
        dtype = changes.sizes.dtypes.get(key)
        shape = changes.shape(key)
        found[".".join(key) if key != old else name] = _Entry(
            key, dtype_of(dtype) if dtype else tensor.dtype, tensor.shape if shape is None else shape, name
        )
    return found


def _add(written: dict[str, _Entries], changes: Changes) -> None:
    """Puts new tensors behind the ones that they belong to: those of the same module, else the last ones."""
    for key, dtype in changes.sizes.added.items():
        beside = (*key[:-1], "weight")
        file = next((f for f, own in written.items() if any(e.key == beside for e in own.values())), [*written][-1])
        shape = changes.shape(key)
        assert shape is not None
        new = {".".join(key): _Entry(key, dtype_of(dtype), shape, None)}
        found: _Entries = {}
        for name, entry in written[file].items():
            found |= {name: entry} | (new if entry.key == beside else {})
        written[file] = found | new


def own_files(directory: Path, weights: Set[str]) -> list[Path]:
    """The files of a model directory that are none of weights: settings, a tokenizer, a card."""
    others = {*weights, STAMP_FILE, *INDEXES, *left_out(directory)}
    entries = (e for e in sorted(directory.iterdir()) if e.name not in others and not is_weights(e.name))
    return [entry for entry in entries if not entry.name.startswith(".")]


def _refuse_link_out(file: Path) -> None:
    """Nothing that lies elsewhere becomes a part of a copy, and without it the copy would be no model."""
    if leads_out(file):
        raise CheckpointError(
            f"{file}: a link that leads out of the model, to {resolved(file)}: it is not followed into a copy",
            f"where you trust it, copy the model with what its links name: cp -rL {file.parent} COPY",
        )


def _write_file(file: File, out: Path, entries: _Entries, changes: Changes, digests: dict[Key, str]) -> None:
    """Writes one file of weights; adds the digests of its tensors to `digests`."""

    def tensor(name: str) -> np.ndarray:
        entry = entries[name]
        array = changes.leaves[entry.key] if entry.key in changes.leaves else file.read(entry.source or name)
        digests[entry.key] = array_digest(array)
        return array

    with out.open("xb") as opened:
        sizes = {name: (entry.dtype, entry.shape) for name, entry in entries.items()}
        if not isinstance(file, TorchZip):
            safetensors.write_streamed(opened, sizes, file.metadata, tensor)
        elif [entry.source for entry in entries.values()] == list(file.tensors) == list(entries):
            changed = {name: entry.shape for name, entry in entries.items() if entry.key in changes.leaves}
            dtypes = {name: entry.dtype for name, entry in entries.items() if name in changed}
            torch_zip.write(file, opened, changed, tensor, dtypes)
        else:
            torch_state.write(opened, sizes, tensor, _shared(file, entries))
    if isinstance(file, TorchZip):
        stored = {n: file.tensors[e.source].storage for n, e in entries.items() if e.source}
        known = {stored[n]: digests[e.key] for n, e in entries.items() if n in stored and e.key in digests}
        for name, entry in entries.items():  # Tied ones change together; what stays was copied as it lies.
            if entry.key not in digests:
                digests[entry.key] = known.get(stored[name]) or array_digest(file.read(entry.source or name))


def _shared(file: TorchZip, entries: _Entries) -> dict[str, str]:
    """Tensors that are views of the whole of another one's storage, as tied ones are, by the name of the first."""
    if not torch_zip.is_flat(file):
        raise CheckpointError(
            f"{file.path}: holds more than a state dict, and names of tensors change",
            "convert it where you trust it: safetensors.torch.save_file(torch.load(FILE), 'model.safetensors')",
        )
    first: dict[Any, str] = {}
    found = {}
    for name, entry in entries.items():
        if entry.source is not None:
            tensor = file.tensors[entry.source]
            place = (tensor.storage, tensor.offset, tensor.shape, tensor.strides)
            if place in first:
                found[name] = first[place]
            first.setdefault(place, name)
    return found


def _write_index(index: Path, out: Path, written: Mapping[str, _Entries]) -> None:
    """The index with the new totals; which tensor is in which file stays."""
    content = read_json_object(index)
    entries = [entry for own in written.values() for entry in own.items()]
    numbers, size = total({name: (entry.shape, entry.dtype) for name, entry in entries})
    metadata = content.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{index}: `metadata` is no object", "remove it from the index")
    metadata = dict(metadata)
    metadata |= {key: new for key, new in (("total_size", size), ("total_parameters", numbers)) if key in metadata}
    places = {name: file for file, own in written.items() for name in own}
    before = content["weight_map"]
    if places.keys() != before.keys():
        content["weight_map"] = {name: places[name] for name in sorted(places)}
    out.write_text(_as_written(index, {**content, "metadata": metadata}))


def _write_settings(file: Path, out: Path, values: Mapping[tuple[str, ...], Any]) -> None:
    """A JSON file with some values changed, by their paths; everything else, and the order, as it was."""
    content = read_json_object(file)
    put(str(file), content, values)
    out.write_text(_as_written(file, content))


def _as_written(file: Path, content: Any) -> str:
    """JSON with the indentation and the last line break that the file has."""
    raw = file.read_bytes()
    text = raw.decode(json.detect_encoding(raw), errors="replace")
    indent = re.match(r"\s*\{\n( +)", text)
    return json.dumps(content, indent=len(indent[1]) if indent else None) + "\n" * text.endswith("\n")
