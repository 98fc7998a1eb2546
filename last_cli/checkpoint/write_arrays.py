"""Writes the arrays of a store again, some of them changed, in the same format and in bounded memory."""

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.checkpoint.store import (
    TENSORSTORE_ERRORS,
    ArrayInfo,
    Store,
    dtype_of,
    kvstore_spec,
    readable,
    ts_context,
)

# How much is read before it is written: the memory that a checkpoint of any size takes.
_BATCH_BYTES = 64 * 2**20

# As Orbax writes its databases: small values inside the tree, the tree in one node, the manifest in one file.
_OCDBT_OPTIONS = {
    "config": {"max_inline_value_bytes": 1024, "max_decoded_node_bytes": 100_000_000, "manifest_kind": "single"},
    "assume_config": True,
    "target_data_file_size": 2**28,
}


def write_arrays(store: Store, directory: Path, changed: Mapping[str, Callable[[], np.ndarray]]) -> None:
    """Writes all arrays of `store` into `directory`, those in `changed` with the value that their function gives.

    The others are copied as they are encoded. Raises OSError where `directory` cannot be written, CheckpointError
    where the store cannot be read.
    """
    import tensorstore as ts

    context = ts_context(file_io_sync=False)  # The caller syncs all files at the end.
    options = _OCDBT_OPTIONS if store.ocdbt else {}
    with _writing():
        database = ts.KvStore.open(kvstore_spec(directory, ocdbt=store.ocdbt) | options, context=context).result()
    kept = [name for name in store.arrays if name not in changed]
    if store.ocdbt:
        _copy_values(store, kept, database)
    else:
        for name in kept:
            shutil.copytree(store.directory / name, directory / name)
    for batch in _batches(store, [name for name in store.arrays if name in changed]):
        pending = []
        for name in batch:
            array = changed[name]()
            spec = _changed_spec(store.arrays[name], array, zarr3=store.zarr3)
            with _writing():
                opened = ts.open(spec, kvstore=database / f"{name}/", create=True, context=context).result()
                pending.append(opened.write(array, can_reference_source_data_indefinitely=True))
        with _writing():
            for future in pending:
                future.result()


def _copy_values(store: Store, names: Iterable[str], database: Any) -> None:
    """Copies the values of the arrays `names` from one OCDBT database to another without decoding them."""
    import tensorstore as ts

    what = "the OCDBT database"
    with readable(store.directory, what):
        source = ts.KvStore.open(kvstore_spec(store.directory, ocdbt=True), context=ts_context()).result()
        keys: dict[str, list[bytes]] = {}
        for key in source.list().result():
            keys.setdefault(_array_of(key.decode(), store), []).append(key)
    for batch in _batches(store, names):
        with readable(store.directory, what):
            reading = [(key, source.read(key)) for name in batch for key in keys.get(name, ())]
            values = [(key, future.result().value) for key, future in reading]
        with _writing():
            for future in [database.write(key, value) for key, value in values]:
                future.result()


def _array_of(key: str, store: Store) -> str:
    """The array that a key of the database belongs to: its longest prefix that is the name of one."""
    while key and key not in store.arrays:
        key = key.rpartition("/")[0]
    return key


def _batches(store: Store, names: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for name in names:
        info = store.arrays[name]
        batch.append(name)
        size += math.prod(info.shape) * dtype_of(info.dtype).itemsize
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _changed_spec(info: ArrayInfo, array: np.ndarray, *, zarr3: bool) -> dict[str, Any]:
    """The tensorstore spec of an array like `info` (codec, chunks) that has the shape and dtype of `array`."""
    drop = ("dtype", "data_type", "fill_value")
    metadata = {key: value for key, value in info.spec.items() if key not in drop}
    metadata["shape"] = list(array.shape)
    if zarr3:
        grid = metadata["chunk_grid"]
        chunks = _chunks(info, array, grid["configuration"]["chunk_shape"])
        metadata["chunk_grid"] = {**grid, "configuration": {"chunk_shape": chunks}}
        metadata["codecs"] = [_one_inner_chunk(codec, chunks) for codec in metadata["codecs"]]
    else:
        metadata["chunks"] = _chunks(info, array, metadata["chunks"])
    return {
        "driver": "zarr3" if zarr3 else "zarr",
        "dtype": array.dtype.name,
        "metadata": metadata,
        "store_data_equal_to_fill_value": True,
    }


def _chunks(info: ArrayInfo, array: np.ndarray, old: list[int]) -> list[int]:
    """As many chunks as before where an axis was cut; else one."""
    if array.ndim != len(info.shape):
        return list(array.shape)
    axes = zip(old, info.shape, array.shape, strict=True)
    return [min(chunk, new) if chunk < was else new for chunk, was, new in axes]


def _one_inner_chunk(codec: dict[str, Any], chunks: list[int]) -> dict[str, Any]:
    if codec["name"] != "sharding_indexed":
        return codec
    return {**codec, "configuration": {**codec["configuration"], "chunk_shape": chunks}}


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Turns what tensorstore raises while it writes into the OSError behind it."""
    try:
        yield
    except OSError:
        raise
    except TENSORSTORE_ERRORS as error:
        known = (code for code in errno.errorcode if os.strerror(code) in str(error))
        raise OSError(next(known, errno.EIO), str(error)) from error
