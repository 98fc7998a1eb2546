"""Digests of a checkpoint as `last` wrote it: of every leaf, of every file that holds no arrays, and of the stamp.

A leaf's digest is over what it holds, not over how that lies on disk, so that it is the same in every layout.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.arrays import digest
from last_cli.base.errors import CheckpointError
from last_cli.base.files import regular
from last_cli.formats.types import STAMP_FILE, Index, Key, Leaf, Tree, Written, dtype_of

NUMERIC = ("array", "scalar")

_BATCH_BYTES = 64 * 2**20
_THREADS = 4
_FEW_BYTES = 2**20  # Below it threads cost more than they save.


def name_of(key: Key) -> str:
    """A leaf in a stamp: its parts joined by slashes, those within a part escaped as in a JSON pointer."""
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in key)


def array_digest(array: Any) -> str:
    """Of an array or a number: over its type, shape and bytes in this machine's order."""
    array = np.asarray(array)
    if array.dtype == object:  # A number that no array holds.
        return value_digest("scalar", array.item())
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return f"sha256:{digest([('', native)]).hex()}"


def value_digest(kind: str, value: Any) -> str:
    """Of a leaf that is no number: a string, None, an empty node."""
    return _sha256(f"{kind} {value!r}".encode(errors="surrogatepass"))


def array_digests(arrays: Mapping[Key, Any]) -> dict[Key, str]:
    """Of several arrays in memory, large ones side by side."""
    if sum(np.asarray(array).nbytes for array in arrays.values()) < _FEW_BYTES:
        return {name: array_digest(array) for name, array in arrays.items()}
    from concurrent.futures import ThreadPoolExecutor  # Who reads a header needs none.

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(arrays, pool.map(array_digest, arrays.values()), strict=True))


def tree_digests(tree: Tree) -> dict[Key, str]:
    """Of every leaf of a tree; stored arrays are read in bounded memory.

    Raises:
        CheckpointError: one cannot be read.
    """
    found = inline_digests(tree.leaves, tree.inline, tree.names)
    for batch in _batches(tree):
        arrays = tree.store.read([tree.names[key] for key in batch]) if tree.store else {}
        found |= array_digests({key: arrays[tree.names[key]] for key in batch})
    return found


def inline_digests(
    leaves: Mapping[Key, Leaf], values: Mapping[Key, Any], stored: Container[Key] = ()
) -> dict[Key, str]:
    """Of the leaves whose values came with the tree, and of those that have none.

    Args:
        leaves: of the tree.
        values: by key.
        stored: leaves that are left out.
    """
    return {
        key: array_digest(values[key])
        if leaf.kind in NUMERIC and key in values
        else value_digest(leaf.kind, values.get(key))
        for key, leaf in leaves.items()
        if key not in stored
    }


def file_digests(root: Path, skip: Callable[[Path], bool]) -> dict[str, str]:
    """Of the files below a directory but the stamp at its root, by their paths in it; of a file, "" is its own.

    Args:
        root: the directory or file.
        skip: whether a file is passed over.

    Raises:
        OSError: one cannot be read.
    """
    if root.is_file():
        return {"": file_digest(root)}
    files = [file for file in sorted(root.rglob("*")) if file.is_file() and file != root / STAMP_FILE]
    return {file.relative_to(root).as_posix(): file_digest(file) for file in files if not skip(file)}


def file_digest(file: Path) -> str:
    """Of a file's bytes."""
    with regular(file).open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def stamp_digest(stamp: Mapping[str, Any]) -> str:
    """Of a stamp without its entry `written`, however it is laid out in its file."""
    told = {key: value for key, value in stamp.items() if key != "written"}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _sha256(text.encode(errors="surrogatepass"))


def digests_at(written: Written | None, directory: Path) -> Mapping[str, str]:
    """The digests of the leaves of the tree in a directory by name; none where the stamp does not describe that tree.

    A step that a trainer saved later, or one that was copied to another place, is no tree of the stamp.
    """
    if written is None or not directory.is_relative_to(written.root):
        return {}
    place = directory.relative_to(written.root).as_posix()
    return written.arrays.get("" if place == "." else place, {})


def refuse_damage(source: Index, directory: Path, found: Mapping[Key, str], names: Mapping[Key, str] = {}) -> None:
    """Compares leaves with what the stamp says of them; leaves that it does not name pass.

    Args:
        source: the checkpoint with the stamp.
        directory: of the tree.
        found: digests by key.
        names: of stored leaves in their store, for the error.

    Raises:
        CheckpointError: one is otherwise; names leaf and file.
    """
    if not source.checked or source.written is None:
        return
    said = digests_at(source.written, directory)
    for key, value in found.items():
        if said.get(name_of(key), value) != value:
            expected = said[name_of(key)]
            stored = directory / names.get(key, "")
            there = os.path.exists(stored)  # noqa: PTH110 - a name that is too long for a file is no error here.
            raise CheckpointError(
                f"{stored if there else directory}: leaf {'/'.join(key)} is not as `last` wrote it: "
                f"{expected[:19]} in the stamp, {value[:19]} there",
                _hint(source.written),
            )


def refuse_lost(source: Index) -> None:
    """Looks for the leaves that the stamp names of the tree of an index.

    Raises:
        CheckpointError: one is not there; names it.
    """
    if not source.checked or source.written is None:
        return
    there = set(map(name_of, source.leaves))
    lost = [name for name in digests_at(source.written, source.location.directory) if name not in there]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise CheckpointError(
            f"{source.location.directory}: leaf {lost[0]}{more}, which `last` wrote, is not there",
            _hint(source.written),
        )


def _hint(written: Written) -> str:
    return (
        "the checkpoint is damaged: copy it again from where it was written; if another program wrote it since, remove "
        f"the entry `written` from {written.file}"
    )


def _batches(tree: Tree) -> Iterator[list[Key]]:
    batch: list[Key] = []
    size = 0
    for key in tree.names:
        leaf = tree.leaves[key]
        batch.append(key)
        size += int(np.prod(leaf.shape, dtype=object)) * dtype_of(leaf.dtype).itemsize
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
