"""Writes the arrays of a store again, some of them changed, in the same format and in bounded memory."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.formats.digests import array_digest
from last_cli.formats.orbax.copies import copy_array
from last_cli.formats.orbax.store import (
    TENSORSTORE_ERRORS,
    ArrayInfo,
    ZarrStore,
    open_database,
    open_memory,
    readable,
    writing,
)
from last_cli.formats.types import dtype_of

# How much is on its way at a time, twice over: with the decoded copies, the memory that any checkpoint takes.
_BATCH_BYTES = 32 * 2**20
_THREADS = 4

# As Orbax writes its databases: small values inside the tree, the tree in one node, the manifest in one file.
_OCDBT_OPTIONS = {
    "config": {"max_inline_value_bytes": 1024, "max_decoded_node_bytes": 100_000_000, "manifest_kind": "single"},
    "assume_config": True,
    "target_data_file_size": 2**28,
}


# What a changed array has of the metadata of the original.
_KEPT = ("compressor", "filters", "order", "dimension_separator", "chunk_grid", "chunk_key_encoding", "codecs")


def write_arrays(store: ZarrStore, directory: Path, changed: Mapping[str, Callable[[], np.ndarray]]) -> dict[str, str]:
    """Writes all arrays of a store into another, most of them copied as they are encoded. Files are not synced.

    Args:
        store: the arrays as they are.
        directory: of the new store, in the same format.
        changed: functions that give the values of those that changed; they are called from several threads.

    Returns:
        The digests of all arrays as they were written.

    Raises:
        OSError: the directory cannot be written.
        CheckpointError: the store cannot be read.
    """
    ocdbt = store.database is not None
    with writing():
        target = open_database(directory, ocdbt=ocdbt, sync=False, **(_OCDBT_OPTIONS if ocdbt else {}))
        memory = open_memory() if ocdbt else None
    pending: list[Any] = []
    digests: dict[str, str] = {}

    def change(name: str) -> None:
        """Begins to write a changed array."""
        array = changed[name]()
        pending.append(_write(store, name, array, target))
        digests[name] = array_digest(array)

    def copy(names: list[str]) -> dict[str, np.ndarray]:
        """Begins to copy the others; returns what they hold."""
        if not ocdbt:
            list(pool.map(lambda name: copy_array(store.directory / name, directory / name), names))
            return store.read(names)
        values = _encoded(store, names)
        pending.extend(_copy(values, target))
        return _decoded(store, names, values, memory)

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            for batch in _batches(store):
                before = len(pending)
                changing = pool.map(change, [name for name in batch if name in changed])
                copied = copy([name for name in batch if name not in changed])
                digests |= zip(copied, pool.map(array_digest, copied.values()), strict=True)
                list(changing)
                with writing(store.directory):
                    for write in pending[:before]:
                        write.result()
                del pending[:before]
        with writing(store.directory):
            for write in pending:
                write.result()
    except BaseException:
        for write in pending:  # They would go on to write into what the caller removes.
            with contextlib.suppress(*TENSORSTORE_ERRORS):
                write.result()
        raise
    return digests


def _write(store: ZarrStore, name: str, array: np.ndarray, target: Any) -> Any:
    import tensorstore as ts

    spec = _changed_spec(store.arrays[name], array, zarr3=store.zarr3)
    with writing(store.directory):
        opened = ts.open(spec, kvstore=target / f"{name}/", create=True).result()
        return opened.write(array, can_reference_source_data_indefinitely=True)


def _encoded(store: ZarrStore, names: Iterable[str]) -> dict[str, bytes]:
    """What a database has of these arrays, all of it read at once."""
    reading = {name: {key: store.database.read(key) for key in store.keys.get(name, ())} for name in names}
    found = {}
    for name, futures in reading.items():
        with readable(store.directory, f"array data of leaf {name}"):
            found |= {key: future.result().value for key, future in futures.items()}
    return found


def _copy(values: Mapping[str, bytes], target: Any) -> list[Any]:
    with writing():
        return [target.write(key, value) for key, value in values.items()]


def _decoded(store: ZarrStore, names: Iterable[str], values: Mapping[str, bytes], memory: Any) -> dict[str, np.ndarray]:
    """Arrays from their values in memory: the disk is not read twice, and what was read is what is copied."""
    for write in [memory.write(key, value) for key, value in values.items()]:
        write.result()
    arrays = replace(store, database=memory).read(names)
    for removal in [memory.write(key, None) for key in values]:
        removal.result()
    return arrays


def _batches(store: ZarrStore) -> Iterator[list[str]]:
    batch, size = [], 0
    for name, info in store.arrays.items():
        batch.append(name)
        size += math.prod(info.shape) * dtype_of(info.dtype).itemsize
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _changed_spec(info: ArrayInfo, array: np.ndarray, *, zarr3: bool) -> dict[str, Any]:
    """The tensorstore spec of an array like `info` (codec, chunks) that has the shape and dtype of `array`."""
    metadata = {key: value for key, value in info.spec.items() if key in _KEPT}
    metadata["shape"] = list(array.shape)
    if zarr3:
        grid = metadata["chunk_grid"]
        chunks = _chunks(info, array)
        metadata["chunk_grid"] = {**grid, "configuration": {"chunk_shape": chunks}}
        metadata["codecs"] = [_one_inner_chunk(codec, chunks) for codec in metadata["codecs"]]
    else:
        metadata["chunks"] = _chunks(info, array)
    return {
        "driver": "zarr3" if zarr3 else "zarr",
        "dtype": array.dtype.name,
        "metadata": metadata,
        "store_data_equal_to_fill_value": True,
    }


def _chunks(info: ArrayInfo, array: np.ndarray) -> list[int]:
    """As many chunks as before where an axis was cut; else one."""
    if array.ndim != len(info.shape):
        return list(array.shape)
    axes = zip(info.chunks, info.shape, array.shape, strict=True)
    return [min(chunk, new) if chunk < was else new for chunk, was, new in axes]


def _one_inner_chunk(codec: dict[str, Any], chunks: list[int]) -> dict[str, Any]:
    if codec["name"] != "sharding_indexed":
        return codec
    return {**codec, "configuration": {**codec["configuration"], "chunk_shape": chunks}}
