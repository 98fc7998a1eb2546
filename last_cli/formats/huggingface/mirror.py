"""Writes a changed copy of a model directory: the same files, names, dtypes and order, streamed tensor by tensor."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.files import resolved
from last_cli.formats import safetensors, torch_zip
from last_cli.formats.digests import array_digest, refuse_damage
from last_cli.formats.format import Changes
from last_cli.formats.huggingface.locate import CONFIG, INDEXES, index_file, is_weights, leads_out, left_out
from last_cli.formats.huggingface.store import File, TensorStore, total
from last_cli.formats.json_file import read_json_object
from last_cli.formats.settings import put
from last_cli.formats.torch_zip import TorchZip
from last_cli.formats.types import STAMP_FILE, Index, Key, dtype_of

_Sizes = Mapping[str, tuple[tuple[int, ...], np.dtype]]


def mirror(source: Index, stage: Path, changes: Changes) -> dict[str, dict[Key, str]]:
    """Writes all of a directory: weights anew, settings with their changes, every other file as it is or is to be."""
    store = source.tree.store
    assert isinstance(store, TensorStore)
    keys = {name: key for key, name in source.tree.names.items()}
    directory, weights = source.location.directory, {file.path.name for file in store.files}
    for name in sorted(weights | {CONFIG, *INDEXES, *changes.settings}):
        _refuse_link_out(directory / name)
    for entry in own_files(directory, weights | changes.files.keys()):
        if entry.name in changes.settings:
            _write_settings(entry, stage / entry.name, changes.settings[entry.name])
        else:
            shutil.copyfile(entry, stage / entry.name)
    for name, file in changes.files.items():
        if file is not None:
            shutil.copyfile(file, stage / name)
    sizes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    digests: dict[Key, str] = {}
    for file in store.files:
        sizes |= _write_file(file, stage / file.path.name, keys, changes, digests)
    if index := index_file(directory):
        _write_index(index, stage / index.name, sizes)
    refuse_damage(source, directory, {key: said for key, said in digests.items() if key not in changes.leaves})
    return {"": digests}


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


def _write_file(file: File, out: Path, keys: Mapping[str, Key], changes: Changes, digests: dict[Key, str]) -> _Sizes:
    """Writes one file of weights; adds the digests of its tensors to `digests`."""
    shapes = {name: changes.shape(keys[name]) or tensor.shape for name, tensor in file.tensors.items()}
    changed = {name: shapes[name] for name in shapes if keys[name] in changes.leaves}
    dtypes = {name: tensor.dtype for name, tensor in file.tensors.items()}
    dtypes |= {name: dtype_of(changes.dtypes[keys[name]]) for name in changed if keys[name] in changes.dtypes}

    def tensor(name: str) -> np.ndarray:
        array = changes.leaves[keys[name]] if name in changed else file.read(name)
        digests[keys[name]] = array_digest(array)
        return array

    with out.open("xb") as opened:
        if isinstance(file, TorchZip):
            torch_zip.write(file, opened, changed, tensor, dtypes)
            known = {file.tensors[name].storage: digests[keys[name]] for name in changed if keys[name] in digests}
            for name, other in file.tensors.items():  # Tied ones change together; what stays was copied as it lies.
                digests[keys[name]] = known.get(other.storage) or array_digest(file.read(name))
        else:
            sizes = {name: (dtypes[name], shapes[name]) for name in file.tensors}
            safetensors.write_streamed(opened, sizes, file.metadata, tensor)
    return {name: (shapes[name], dtypes[name]) for name in file.tensors}


def _write_index(index: Path, out: Path, sizes: _Sizes) -> None:
    """The index with the new totals; which tensor is in which file stays."""
    content = read_json_object(index)
    numbers, size = total(sizes)
    metadata = content.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{index}: `metadata` is no object", "remove it from the index")
    metadata = dict(metadata)
    metadata |= {key: new for key, new in (("total_size", size), ("total_parameters", numbers)) if key in metadata}
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
