"""Files of `torch.save`, read and written back without PyTorch: a zip of a pickle and of raw storages.

The pickle is not run by Python's unpickler. A small machine walks its opcodes and knows dictionaries, tuples, numbers,
strings and tensors: whatever else the pickle asks for is refused by name. A changed copy keeps the pickle byte for byte
but for the numbers of changed shapes, and the names of types where one changes, so that shared (tied) tensors, versions
and wrappers stay as they were.
"""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.files import EXPANDED
from last_cli.formats.json_file import NESTING
from last_cli.formats.torch_pickle import DTYPES, Machine, Tensor
from last_cli.formats.types import INCOMPLETE

_PICKLE_BYTES, _TENSOR_BYTES = 2**20, 2**12  # of a pickle, and for each entry of the zip; more is no state dict
_NAMES = 16  # So many characters in names at most does a byte of a pickle make: a prefix counts for each name below.
_ALIGNMENT = 64  # of storages in the file, as PyTorch writes them
# What `zipfile` raises of a damaged file: of an entry that seems compressed or encrypted now, too.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, KeyError, RuntimeError, ValueError)
_SAFE = "convert it where you trust it: safetensors.torch.save_file(torch.load(FILE), 'model.safetensors')"


@dataclass(frozen=True)
class TorchZip:
    """A file that was looked through.

    Attributes:
        path: of the file.
        root: the folder inside the zip.
        tensors: by name; names inside of dictionaries are joined by dots.
        others: names of entries that are no tensors.
        pickle: the bytes of the pickle.
        kinds: where the pickle names the type of which storage; None where it cannot be named anew.
    """

    path: Path
    root: str
    tensors: Mapping[str, Tensor]
    others: tuple[str, ...]
    pickle: bytes
    kinds: Sequence[tuple[str, tuple[int, int] | None]]

    def read(self, name: str) -> np.ndarray:
        """One tensor, of its shape, in C order.

        Raises:
            CheckpointError: its storage is not there whole.
        """
        tensor = self.tensors[name]
        try:
            with zipfile.ZipFile(self.path) as archive:
                raw = archive.read(f"{self.root}/data/{tensor.storage}")
        except (OSError, *_DAMAGED) as error:
            raise CheckpointError(f"{self.path}: the data of {name} cannot be read ({error})", INCOMPLETE) from error
        return _view(self.path, name, tensor, raw)


def opened(path: Path) -> TorchZip:
    """Looks a file through, without reading a tensor.

    Raises:
        CheckpointError: it cannot be read, is no such zip, or its pickle asks for more than tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(names) != 1:
                raise CheckpointError(f"{path}: a zip file without a pickle of tensors, expected one of `torch.save`")
            root = names[0].removesuffix("/data.pkl")
            if packed := next((info for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED), None):
                raise CheckpointError(f"{path}: {packed.filename} is compressed, which `torch.save` does not do", _SAFE)
            if archive.getinfo(names[0]).file_size > _PICKLE_BYTES + _TENSOR_BYTES * len(archive.namelist()):
                raise CheckpointError(f"{path}: its pickle is larger than that of any state dict", _SAFE)
            if f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder").strip() != b"little":
                raise CheckpointError(f"{path}: written on a big-endian machine, expected little-endian data", _SAFE)
            pickle = archive.read(names[0])
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})", INCOMPLETE) from error
    except _DAMAGED as error:
        reason = f"no zip file as `torch.save` has written since PyTorch 1.6, or truncated ({error})"
        raise CheckpointError(f"{path}: {reason}", _SAFE) from error
    try:
        content = (machine := Machine(pickle)).run()
        found = dict(_flat(content, _NAMES * len(pickle))) if isinstance(content, dict) else {}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.args[0]}", _SAFE) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path}: its pickle is damaged ({type(error).__name__}: {error})", INCOMPLETE) from error
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensor, expected a state dict", _SAFE)
    return TorchZip(path, root, tensors, tuple(name for name in found if name not in tensors), pickle, machine.kinds)


def is_flat(source: TorchZip) -> bool:
    """Whether the file holds one dictionary of tensors and nothing else."""
    content = Machine(source.pickle).run()
    return isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())


def write(
    source: TorchZip,
    file: BinaryIO,
    shapes: Mapping[str, tuple[int, ...]],
    changed: Callable,
    dtypes: Mapping[str, np.dtype] = MappingProxyType({}),
) -> None:
    """Writes a copy in which some tensors are others; those that share a storage change together.

    Args:
        source: the file as it was.
        file: open for writing.
        shapes: of the tensors that change, by name.
        changed: name -> its new values; called once for each storage.
        dtypes: of the tensors that change, where another one is wanted.

    Raises:
        CheckpointError: the source cannot be read, or its pickle has no room for another dtype.
        OSError: the file cannot be written.
    """
    names = {source.tensors[name].storage: name for name in shapes}
    shared = {name: shapes[names[t.storage]] for name, t in source.tensors.items() if t.storage in names}
    for name in shared:
        tensor, other = source.tensors[name], source.tensors[names[source.tensors[name].storage]]
        if (tensor.shape, tensor.strides, tensor.offset) != (other.shape, other.strides, 0):
            raise CheckpointError(
                f"{source.path}: {name} is a part of another tensor, so it cannot change alone", _SAFE
            )
    own = {storage: dtypes.get(name, source.tensors[name].dtype) for storage, name in names.items()}
    with _reopened(source.path) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            at = info.filename.removeprefix(f"{source.root}/")
            storage = at.removeprefix("data/") if at.startswith("data/") else None
            if at == "data.pkl":
                add_entry(new, info.filename, _patched(source, shared, own))
            elif storage in names:
                name = names[storage]
                array = np.ascontiguousarray(changed(name), own[storage])
                add_entry(new, info.filename, array.reshape(-1).view(np.uint8).data)
            else:
                add_entry(new, info.filename, _content(source.path, old, info))


def _reopened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, *_DAMAGED) as error:
        raise CheckpointError(f"{path}: its list of entries cannot be read ({error})", INCOMPLETE) from error


def _content(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except (OSError, *_DAMAGED) as error:
        raise CheckpointError(f"{path}: {info.filename} cannot be read ({error})", INCOMPLETE) from error


def add_entry(archive: zipfile.ZipFile, name: str, data: Any) -> None:
    """One entry, its data at a multiple of the alignment: the room before is an extra field that nobody reads."""
    info = zipfile.ZipInfo(name)
    large = len(data) >= zipfile.ZIP64_LIMIT
    assert archive.fp is not None
    header = archive.fp.tell() + 30 + len(name.encode()) + 4 + (20 if large else 0)
    room = -header % _ALIGNMENT
    info.extra = b"FB" + room.to_bytes(2, "little") + b"Z" * room
    info.file_size = len(data)
    with archive.open(info, "w", force_zip64=large) as entry:
        entry.write(data)


def _view(path: Path, name: str, tensor: Tensor, raw: bytes) -> np.ndarray:
    numbers = np.frombuffer(raw, tensor.dtype, len(raw) // tensor.dtype.itemsize)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, tensor.dtype)
    if min(tensor.offset, *tensor.strides, 0) < 0 or last >= len(numbers):
        raise CheckpointError(
            f"{path}: {name} ends at number {last} of a storage of {len(numbers)}: the file is truncated or damaged",
            INCOMPLETE,
        )
    claimed = math.prod(tensor.shape) * tensor.dtype.itemsize
    if claimed > max(EXPANDED, len(raw)):
        raise CheckpointError(f"{path}: {name} has a shape of {claimed:,} bytes, and holds {len(raw):,}", _SAFE)
    strides = [stride * tensor.dtype.itemsize for stride in tensor.strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides))


def _flat(tree: Mapping[Any, Any], room: int) -> Iterator[tuple[str, Any]]:
    """What is no dictionary, by its path; raises ValueError where that is deep, or has more than `room` characters."""
    within = [("", iter(tree.items()))]
    while within:
        prefix, entries = within[-1]
        if (entry := next(entries, None)) is None:
            within.pop()
            continue
        name, value = f"{prefix}{entry[0]}", entry[1]
        room -= len(name) + 1
        if room < 0 or len(within) > NESTING:
            raise ValueError("dictionaries that hold one another")
        if isinstance(value, dict):
            within.append((f"{name}.", iter(value.items())))
        else:
            yield name, value


def _patched(source: TorchZip, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype]) -> bytes:
    """The pickle with other shapes, strides, sizes and types of storages."""
    pickle, new = source.pickle, _types(source, dtypes)
    for name, shape in shapes.items():
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        values = (int(np.prod(shape)), 0, *shape, *strides)
        numbers = zip(source.tensors[name].numbers, values, strict=True)
        new |= {(number.start, number.end): _packed(value) for number, value in numbers}
    parts, at = [], 0
    for (start, end), value in sorted(new.items()):
        parts += [pickle[at:start], value]
        at = end
    return b"".join([*parts, pickle[at:]])


def _types(source: TorchZip, dtypes: Mapping[str, np.dtype]) -> dict[tuple[int, int], bytes]:
    """Where any storage has another type, the names of all anew: most only refer to where a type was named first."""
    before = {tensor.storage: tensor.dtype for tensor in source.tensors.values()}
    if all(before[storage] == dtype for storage, dtype in dtypes.items()):
        return {}
    names = {dtype: name for name, dtype in DTYPES.items()}
    after, found = {**before, **dtypes}, dict[tuple[int, int], bytes]()
    for storage, place in source.kinds:
        if place is None:
            raise CheckpointError(f"{source.path}: its pickle has no room for the type of storage {storage}", _SAFE)
        found[place] = f"ctorch\n{names[after[storage]]}\n".encode()
    return found


def _packed(number: int) -> bytes:
    """A number as an opcode of a pickle."""
    if number < 2**31:
        return b"J" + number.to_bytes(4, "little")
    raw = number.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw
