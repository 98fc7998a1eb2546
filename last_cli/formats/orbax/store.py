"""Arrays of a zarr or zarr3 store, in an OCDBT database or in plain directories, read straight through tensorstore."""

import contextlib
import errno
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.files import files_below, regular
from last_cli.base.words import some
from last_cli.formats.json_file import parse_json
from last_cli.formats.types import INCOMPLETE, dtype_of

_LEFT_OUT = "not stored and read as zeros; this version of Orbax left out zeros, but a lost file looks the same"

# Orbax cuts an array into few chunks, and compresses numbers that differ by no more than this.
_CHUNKS_LEFT_OUT = 10_000
_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO = 2**28, 1000

# What tensorstore raises for its status codes; there is no common class of its own.
TENSORSTORE_ERRORS = (ValueError, RuntimeError, IndexError, OSError)


@dataclass(frozen=True)
class ArrayInfo:
    """The metadata of one stored array. `spec` is the parsed `.zarray` or `zarr.json`."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    spec: dict[str, Any]

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks lie along each axis."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    @property
    def bytes(self) -> int:
        """Of all its chunks; those at the end are as large as the others."""
        return math.prod(self.grid) * math.prod(self.chunks) * dtype_of(self.dtype).itemsize


@dataclass(frozen=True)
class ZarrStore:
    """The arrays of one tree by name.

    Attributes:
        directory: where they lie.
        zarr3: the version of zarr, 2 or 3.
        strict: every chunk was written, so a missing one is an error, not zeros.
        database: the opened OCDBT database (a tensorstore.KvStore); None where each array has a directory of its own.
        arrays: those that were asked for when it was opened.
        keys: the keys of each array in the store, below "" those of no array that was asked for.
    """

    directory: Path
    zarr3: bool
    strict: bool
    database: Any
    arrays: Mapping[str, ArrayInfo]
    keys: Mapping[str, list[str]]

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays of these names, read concurrently; see Store."""
        import tensorstore as ts

        names = list(names)
        _refuse_beyond_memory(self, names)
        _refuse_beyond_what_is_stored(self, names)
        database = self.database or open_database(self.directory, ocdbt=False)
        spec = {
            "driver": "zarr3" if self.zarr3 else "zarr",
            "fill_missing_data_reads": not self.strict,
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
        }
        opening = {name: ts.open(spec, kvstore=database / f"{name}/", open=True, read=True) for name in names}
        reading = {name: _result(self, name, future).read() for name, future in opening.items()}
        return {name: _result(self, name, future) for name, future in reading.items()}

    def warnings(self) -> tuple[str, ...]:
        """Which arrays are stored that were not asked for, and which of those that were are not there whole."""
        warnings = []
        if unlisted := self._unlisted():
            names = some(unlisted)
            warnings.append(f"{self.directory}: stored arrays that are no leaf of the tree are passed over: {names}")
        if absent := self._absent():
            what = "missing, and cannot be read" if self.strict else _LEFT_OUT
            warnings.append(f"{self.directory}: parts of {some(absent)} are {what}")
        return tuple(warnings)

    def _unlisted(self) -> list[str]:
        file = "/zarr.json" if self.zarr3 else "/.zarray"
        return sorted(key.removesuffix(file) for key in self.keys.get("", ()) if key.endswith(file))

    def _absent(self) -> list[str]:
        """The arrays that have fewer chunks in the store than their shape asks for; what is absent reads as zeros."""
        return [name for name, info in self.arrays.items() if math.prod(info.grid) >= len(self.keys.get(name, ()))]


def open_store(directory: Path, names: Iterable[str], *, ocdbt: bool, zarr3: bool, strict: bool) -> ZarrStore:
    """The store in a directory with the metadata of some arrays, and no data.

    Args:
        directory: of the tree.
        names: the arrays that the tree has.
        ocdbt: whether they lie in one database; else each has a directory of its own.
        zarr3: whether they are of version 3 of zarr.
        strict: whether every chunk was written.

    Raises:
        CheckpointError: the store cannot be opened, lacks one of the arrays, or one has a name that no array has.
    """
    names = list(names)
    _refuse_outside(directory, names)
    file = "zarr.json" if zarr3 else ".zarray"
    keys, files = [f"{name}/{file}" for name in names], files_of(directory)
    if ocdbt:
        with readable(directory, "the OCDBT database"):
            database = open_database(directory, ocdbt=True)
            reading = [database.read(key) for key in keys]
            results = [future.result() for future in reading]
            found = [result.value if result.state == "value" else None for result in results]
            stored = [key.decode(errors="replace") for key in database.list().result()]
    else:
        database, stored = None, files
        found = [_file_value(directory / key) for key in keys]
    missing = [name for name, raw in zip(names, found, strict=True) if raw is None]
    if missing:
        raise CheckpointError(f"{directory}: the array of leaf {some(missing, 1)} is not in the store", INCOMPLETE)
    infos: dict[bytes, ArrayInfo] = {}  # Most arrays of a tree are like others.
    for name, raw in zip(names, found, strict=True):
        if raw is not None and raw not in infos:
            infos[raw] = _array_info(raw, f"{directory}/{name}/{file}")
    arrays = {name: infos[raw] for name, raw in zip(names, found, strict=True) if raw is not None}
    by_array: dict[str, list[str]] = {}
    for key in stored:
        by_array.setdefault(_array_of(key, arrays), []).append(key)
    return ZarrStore(directory, zarr3, strict, database, arrays, by_array)


def open_database(directory: Path, *, ocdbt: bool, sync: bool = True, **options: Any):
    """The key-value store in a directory: a tensorstore.KvStore.

    Args:
        directory: of the tree.
        ocdbt: whether it is a database, whose nodes are cached, so that each is read once; else plain files.
        sync: whether files that are written are synced.
        options: further entries of an OCDBT spec.

    Raises:
        ValueError, RuntimeError, IndexError, OSError: whatever tensorstore raises; see `readable` and `writing`.
    """
    import tensorstore as ts

    context = ts.Context({"cache_pool#ocdbt": {"total_bytes_limit": 100_000_000}, "file_io_sync": sync})
    path = directory.absolute()
    path = path.resolve() if ".." in path.parts else path  # It refuses `..` in a path.
    spec = {"driver": "file", "path": f"{path}/"}
    if ocdbt:
        spec = {"driver": "ocdbt", "base": spec, "cache_pool": "cache_pool#ocdbt", **options}
    return ts.KvStore.open(spec, context=context).result()


def open_memory() -> Any:
    """An empty key-value store in memory: a tensorstore.KvStore."""
    import tensorstore as ts

    return ts.KvStore.open({"driver": "memory"}, context=ts.Context()).result()


@contextlib.contextmanager
def readable(directory: Path, what: str) -> Iterator[None]:
    """Turns what tensorstore raises while `what` is read from a directory into words.

    Raises:
        CheckpointError: the block failed; names directory, file and `what`.
    """
    try:
        yield
    except TENSORSTORE_ERRORS as error:
        raise _unreadable(directory, what, error) from error


@contextlib.contextmanager
def writing(source: Path | None = None) -> Iterator[None]:
    """Turns what tensorstore raises while it writes into the error behind it.

    Args:
        source: the store that is copied, if one is.

    Raises:
        OSError: of the file system.
        CheckpointError: there is none, so what the source gave it to write is wrong.
    """
    try:
        yield
    except OSError:
        raise
    except TENSORSTORE_ERRORS as error:
        for code in errno.errorcode:
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code)) from error
        if source is None:
            raise
        raise _unreadable(source, "the form of an array", error) from error


def _refuse_outside(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise CheckpointError(
                f"{directory}: the leaf name {name!r} points out of the checkpoint",
                "Orbax does not write such names: do not trust this checkpoint",
            )


def _refuse_beyond_memory(store: ZarrStore, names: Iterable[str]) -> None:
    """tensorstore ends the program where it cannot allocate, as it would for a damaged shape."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in names:
        info = store.arrays[name]
        if info.bytes > memory:
            raise CheckpointError(
                f"{store.directory}: leaf {name} has the shape {info.shape} in chunks of {info.chunks}, more than fits "
                "the memory of this machine",
                INCOMPLETE,
            )


def _refuse_beyond_what_is_stored(store: ZarrStore, names: list[str]) -> None:
    """Zeros may have been left out, but not nearly everything: a damaged shape would fill the memory with them."""
    for name in names:
        chunks, stored = math.prod(store.arrays[name].grid), len(store.keys.get(name, ()))
        if chunks - stored > _CHUNKS_LEFT_OUT:
            raise CheckpointError(
                f"{store.directory}: leaf {name} should have {chunks:,} chunks, and {max(stored - 1, 0):,} are stored",
                INCOMPLETE,
            )
    if sum(store.arrays[name].bytes for name in names) <= _PLAUSIBLE_BYTES:
        return
    found = sum((store.directory / file).stat().st_size for file in files_of(store.directory))
    largest = max(names, key=lambda name: store.arrays[name].bytes)
    if store.arrays[largest].bytes > max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * found):
        raise CheckpointError(
            f"{store.directory}: leaf {largest} has the shape {store.arrays[largest].shape}, but all that is stored "
            f"there has {found:,} bytes",
            INCOMPLETE,
        )


def files_of(directory: Path) -> list[str]:
    """The files of a store, as paths from its directory.

    Raises:
        CheckpointError: something there is no file, which tensorstore would wait for, or cannot be read.
    """
    try:
        return list(files_below(directory))
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read ({error.strerror})", INCOMPLETE) from error


def _array_of(key: str, arrays: Mapping[str, ArrayInfo]) -> str:
    """The array that a key of the store belongs to: its longest prefix that is the name of one, or ""."""
    while key and key not in arrays:
        key = key.rpartition("/")[0]
    return key


def _result(store: ZarrStore, name: str, future: Any) -> Any:
    with readable(store.directory, f"array data of leaf {name}"):
        return future.result()


def _file_value(path: Path) -> bytes | None:
    try:
        return regular(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})", INCOMPLETE) from error


def _array_info(raw: bytes, where: str) -> ArrayInfo:
    try:
        spec = parse_json(raw)
        shape = tuple(spec["shape"])
        chunks = tuple(spec["chunks"] if "chunks" in spec else spec["chunk_grid"]["configuration"]["chunk_shape"])
        if len(shape) != len(chunks) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise ValueError(f"shape {shape} in chunks {chunks}")
        if not all(isinstance(size, int) and size > 0 for size in chunks):
            raise ValueError(f"chunks {chunks}")
        dtype = dtype_of(str(spec["dtype"] if "dtype" in spec else spec["data_type"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: not valid array metadata ({error})", INCOMPLETE) from error
    return ArrayInfo(shape, chunks, dtype.name, spec)


def _unreadable(directory: Path, what: str, error: Exception) -> CheckpointError:
    """tensorstore's status messages in a user's words: the file first, then what is wrong with it."""
    text = re.sub(r"^[A-Z_]+: ", "", str(error)).split(" [tensorstore_spec")[0].split(" [source locations")[0]
    found = re.search(r'local file "([^"]+)"', text)
    file = found[1].removeprefix(f"{directory}/") if found else str(directory)
    if "is missing" in text:
        return CheckpointError(f"{directory}: {what}: chunk {file} is missing; it would be read as zeros", INCOMPLETE)
    if size := re.search(r"byte range \[\d+, (\d+)\) is not valid for value of size (\d+)", text):
        return CheckpointError(
            f"{directory}: {what} cannot be read: {file} is truncated ({size[2]} bytes, {size[1]} expected)",
            INCOMPLETE,
        )
    return CheckpointError(f"{directory}: {what} cannot be read: {text}", INCOMPLETE)
