"""From a checkpoint to a file of weights, the inverse of an import where there was one, or to a model directory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

import last_cli.checkpoint.convert.msgpack_file as msgpack_file
from last_cli.base.errors import CheckpointError, OutputError, UsageError
from last_cli.base.files import resolved
from last_cli.base.words import some
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.checkpoint.convert.carried import ENTRY, carried, sealed
from last_cli.checkpoint.convert.keymap import COPIES, Entry, KeyMap, LayerMap, copy_key
from last_cli.checkpoint.convert.layout import Spec
from last_cli.checkpoint.convert.names import LAYOUTS
from last_cli.checkpoint.convert.stock import export_stock
from last_cli.formats import Key, safetensors, torch_file
from last_cli.formats.account import stamp_beside
from last_cli.formats.digests import name_of
from last_cli.formats.stage import staged_file, staged_with_stamp
from last_cli.results.convert import ExportReport, KeyRow

FORMATS = {".safetensors": "safetensors", ".pt": "torch", ".pth": "torch", ".msgpack": "msgpack"}

Rows = dict[str, tuple[str, np.ndarray, str]]
"""Name in the file -> leaf, array, note."""


def export_weights(
    ckpt: Checkpoint | str | Path, dst: str | Path, *, to: Literal["hf"] | None = None, force: bool = False
) -> ExportReport:
    """Write a checkpoint's weights into a .safetensors, .pt, .pth or .msgpack file, which appears whole or not at all.

    A checkpoint that came from `import_weights`, pruned since or not, gets the names, dtypes and layouts of the file
    that it came from; pruned layers have smaller arrays, and the model that loads them is built with as many states
    (S4D: each layer as wide as its widest channel, the rest padded with C = 0). Any other checkpoint gets its keys
    joined by dots, or, as .msgpack, its own tree.

    With `to`, a language model in a directory of mamba_ssm becomes a directory that transformers loads, where a stock
    class of it computes the same.

    Args:
        ckpt: a checkpoint, opened or not; what `prune` made may be yet unsaved.
        dst: the file; its suffix names the format. With `to` a directory.
        to: "hf" for a model directory of Hugging Face.
        force: replace a file, or a directory that is a checkpoint, that is there already.

    Raises:
        OutputError: the output exists (unless `force`) or cannot be written; nothing is left behind.
        UsageError: an unknown suffix, PyTorch is needed and not installed, or no stock class computes the same.
        CheckpointError: the checkpoint cannot be read, or lacks a leaf that the file had; names it.
    """
    dst = Path(dst)
    if to is not None:
        return _directory(opened(ckpt), dst, to, force)
    if dst.suffix not in FORMATS:
        raise UsageError(
            f"{dst}: the suffix '{dst.suffix}' names no format, expected one of {', '.join(FORMATS)}",
            "name the output so that it ends in one of these; of a model of mamba_ssm, ⟦to hf⟧ writes a directory",
        )
    format = FORMATS[dst.suffix]
    found = opened(ckpt)
    root = found.index.location.root
    if resolved(dst).is_relative_to(resolved(root)):
        raise OutputError(
            f"{dst}: the output lies inside the checkpoint {root}", "name another output⟨ with ⟦output⟧|⟩"
        )
    keymap = KeyMap.from_stamp(found.stamp)
    if keymap and (keymap.format == "msgpack") != (format == "msgpack"):
        keymap = None
    stamp = carried(found, keymap.said if keymap else {})
    there = bool(stamp) and format != "safetensors"
    with _staged(dst, force, stamped=there) as (file, beside):
        rows, left_out, stamp = _write(file, dst, found, keymap, stamp)
        if beside:
            beside.write_text(json.dumps(stamp, indent=1))
    return ExportReport(
        checkpoint=found.source,
        format=format,
        output=str(dst),
        mapped=keymap is not None,
        keys=[KeyRow(leaf, name, a.shape, a.dtype.name, note) for name, (leaf, a, note) in rows.items()],
        left_out=left_out,
        warnings=_warnings(found, keymap, rows, left_out),
    )


def _directory(found: Checkpoint, dst: Path, to: str, force: bool) -> ExportReport:
    if to != "hf":
        raise UsageError(f"⟦to⟧ is '{to}', expected hf", "leave it out for a file of weights")
    if dst.suffix in FORMATS:
        raise UsageError(f"{dst}: names a file, and ⟦to hf⟧ writes a directory", "leave out the ending, or ⟦to⟧")
    return export_stock(found, dst, force=force)


def _write(
    file: BinaryIO, dst: Path, found: Checkpoint, keymap: KeyMap | None, stamp: dict[str, Any]
) -> tuple[Rows, list[str], dict[str, Any]]:
    """Writes the file; returns also the leaves that are not in it, and the stamp with digests of what is."""
    format = FORMATS[dst.suffix]
    if format == "msgpack":
        tree, left_out = _tree(found, keymap)
        file.write(msgpack_file.pack(tree))
        arrays = {key: np.asarray(value) for key, value in tree.items() if isinstance(value, np.ndarray | np.generic)}
        rows: Rows = {_path([key]): (_path([key]), array, "") for key, array in arrays.items()}
        return rows, left_out, sealed(stamp, {name_of(key): array for key, array in arrays.items()})
    rows, left_out = _restored(found, keymap) if keymap else _joined(found)
    tensors = {name: array for name, (_, array, _) in rows.items()}
    if format == "torch":
        torch_file.write(file, dst, tensors, keymap.wrapper if keymap else None)
        return rows, left_out, sealed(stamp, tensors)
    metadata = dict(keymap.metadata) if keymap and keymap.format == "safetensors" else {"format": "pt"}
    stamp = sealed(stamp, tensors, metadata)
    safetensors.write(file, tensors, {**metadata, **({ENTRY: json.dumps(stamp)} if stamp else {})})
    return rows, left_out, stamp


@contextmanager
def _staged(dst: Path, force: bool, *, stamped: bool) -> Iterator[tuple[BinaryIO, Path | None]]:
    """An open file that becomes `dst`, and where its stamp is written; that of the file that was replaced goes."""
    if not stamped:
        with staged_file(dst, force=force, stale=stamp_beside(dst)) as file:
            yield file, None
        return
    both = staged_with_stamp(dst, source=None, force=force, exported=True)
    with both as stage, (stage / dst.name).open("xb") as file:
        yield file, stage / stamp_beside(dst).name


def _warnings(found: Checkpoint, keymap: KeyMap | None, rows: Rows, left_out: list[str]) -> list[str]:
    warnings = [f"{len(left_out)} leaves are not in the file: {some(left_out)}"] if left_out else []
    if keymap and keymap.layers and any(rows[e.source][1].shape != e.shape for e in keymap.entries):
        states = ", ".join(f"{layer.name} {layer.sizes.states}" for layer in found.layers)
        warnings.append(f"build the model that loads it with fewer states, which are now stored: {states}")
    return warnings


def _restored(found: Checkpoint, keymap: KeyMap) -> tuple[Rows, list[str]]:
    """The tensors of the file that was imported, in its order."""
    entries = {entry.source: entry for entry in keymap.entries}
    rows: Rows = {}
    for layer in keymap.layers:
        rows |= _layer(found, layer, entries)
    for name, entry in entries.items():
        if name not in rows:
            array = _read(found, entry.targets)[0] if entry.targets else np.zeros(entry.shape, entry.dtype)
            rows[name] = (_path(entry.targets), array, entry.note)
    return {name: _noted(rows[name], entry) for name, entry in entries.items()}, _unused(found, keymap)


def _layer(found: Checkpoint, layer: LayerMap, entries: Mapping[str, Entry]) -> Rows:
    if layer.layout not in LAYOUTS:
        raise CheckpointError(f"last.json: unknown layout '{layer.layout}'", "was it imported by a newer `last`?")
    leaves = sorted({key for name in layer.names.values() for key in entries[name].targets})
    copies = {
        key[len(COPIES)]: key
        for key in found.leaves
        if key[: len(COPIES)] == COPIES and key == copy_key(key[len(COPIES)], layer.node, key[-1])
    }
    arrays, notes = LAYOUTS[layer.layout].to_source(
        layer.names,
        {key[-1]: array for key, array in zip(leaves, _read(found, leaves), strict=True)},
        dict(zip(copies, _read(found, copies.values()), strict=True)),
        {role: Spec(entries[name].shape, entries[name].dtype) for role, name in layer.names.items()},
        layer.options,
    )
    return {
        name: (_path(entries[name].targets), arrays[role], notes.get(role, "")) for role, name in layer.names.items()
    }


def _joined(found: Checkpoint) -> tuple[Rows, list[str]]:
    """Every array under its keys joined by dots; what is no array is left out."""
    keys = [key for key, leaf in found.leaves.items() if leaf.kind in ("array", "scalar") and key[:1] != COPIES]
    rows: Rows = {}
    for key, array in zip(keys, _read(found, keys), strict=True):
        name = ".".join(key)
        if name in rows:
            raise OutputError(
                f"{_path([key])}: joined by dots it has the name {name} of another leaf", "export .msgpack"
            )
        rows[name] = (_path([key]), array, "")
    return rows, ["/".join(key) for key in found.leaves if key not in keys]


def _tree(found: Checkpoint, keymap: KeyMap | None) -> tuple[dict[Key, Any], list[str]]:
    """The tree of the file that was imported, or the checkpoint's own."""
    if keymap:
        entries = [(e, _read(found, e.targets)[0] if e.targets else None) for e in keymap.entries]
        return dict(msgpack_file.restore(entry, array) for entry, array in entries), _unused(found, keymap)
    keys = [key for key, leaf in found.leaves.items() if leaf.kind in ("array", "scalar") and key[:1] != COPIES]
    return dict(zip(keys, _read(found, keys), strict=True)), ["/".join(key) for key in found.leaves if key not in keys]


def _read(found: Checkpoint, keys: Iterable[Key]) -> list[np.ndarray]:
    keys = list(keys)
    if missing := [key for key in keys if key not in found.leaves]:
        raise CheckpointError(
            f"{found.index.location.path}: the leaf {_path(missing[:1])} is missing, and the file that it was imported "
            "from had it",
            "export the checkpoint that `last import` or `last prune` wrote",
        )
    arrays = found.read(keys)
    return [arrays[key] for key in keys]


def _unused(found: Checkpoint, keymap: KeyMap) -> list[str]:
    used = {key for entry in keymap.entries for key in entry.targets}
    return ["/".join(key) for key in found.leaves if key not in used and key[:1] != COPIES]


def _noted(row: tuple[str, np.ndarray, str], entry: Entry) -> tuple[str, np.ndarray, str]:
    leaf, array, note = row
    changed = "" if array.shape == entry.shape else f"was {entry.shape}"
    return leaf, array, "; ".join(filter(None, (note, changed)))


def _path(keys: Iterable[Key]) -> str:
    return ", ".join("/".join(key) for key in keys)
