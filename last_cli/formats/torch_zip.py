"""Files of `torch.save`, read and written back without PyTorch: a zip of a pickle and of raw storages.

The pickle is not run by Python's unpickler. A small machine walks its opcodes and knows dictionaries, tuples, numbers,
strings and tensors: whatever else the pickle asks for is refused by name. A changed copy keeps the pickle byte for byte
but for the numbers of changed shapes, so that shared (tied) tensors, versions and wrappers stay as they were.
"""

from __future__ import annotations

import lzma
import math
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.files import EXPANDED, is_shape
from last_cli.formats.json_file import NESTING
from last_cli.formats.types import INCOMPLETE

DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
    "BoolStorage": np.dtype(np.bool_),
}

_PICKLE_BYTES, _TENSOR_BYTES = 2**20, 2**12  # of a pickle, and for each entry of the zip; more is no state dict
_NAMES = 16  # So many characters in names at most does a byte of a pickle make: a prefix counts for each name below.
_LARGEST = 2**63
_ALIGNMENT = 64  # of storages in the file, as PyTorch writes them
# What `zipfile` raises of a damaged file: of an entry that seems compressed or encrypted now, too.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, KeyError, RuntimeError, ValueError)
_SAFE = "convert it where you trust it: safetensors.torch.save_file(torch.load(FILE), 'model.safetensors')"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: a view of one of its storages. `strides` and `offset` count numbers, not bytes."""

    storage: str
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    numbers: tuple[_Number, ...] = ()


class _Number(int):
    """An integer of the pickle, with the places of its opcode's first byte and of the one after its last."""

    start: int
    end: int


@dataclass(frozen=True)
class TorchZip:
    """A file that was looked through.

    Attributes:
        path: of the file.
        root: the folder inside the zip.
        tensors: by name; names inside of dictionaries are joined by dots.
        others: names of entries that are no tensors.
        pickle: the bytes of the pickle.
    """

    path: Path
    root: str
    tensors: Mapping[str, Tensor]
    others: tuple[str, ...]
    pickle: bytes

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
        content = _Machine(pickle).run()
        found = dict(_flat(content, _NAMES * len(pickle))) if isinstance(content, dict) else {}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.args[0]}", _SAFE) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path}: its pickle is damaged ({type(error).__name__}: {error})", INCOMPLETE) from error
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensor, expected a state dict", _SAFE)
    return TorchZip(path, root, tensors, tuple(name for name in found if name not in tensors), pickle)


def write(source: TorchZip, file: BinaryIO, shapes: Mapping[str, tuple[int, ...]], changed: Callable) -> None:
    """Writes a copy in which some tensors are others; those that share a storage change together.

    Args:
        source: the file as it was.
        file: open for writing.
        shapes: of the tensors that change, by name.
        changed: name -> its new values; called once for each storage.

    Raises:
        CheckpointError: the source cannot be read.
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
    with _reopened(source.path) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            at = info.filename.removeprefix(f"{source.root}/")
            storage = at.removeprefix("data/") if at.startswith("data/") else None
            if at == "data.pkl":
                _add(new, info.filename, _patched(source.pickle, source.tensors, shared))
            elif storage in names:
                name = names[storage]
                array = np.ascontiguousarray(changed(name), source.tensors[name].dtype)
                _add(new, info.filename, array.reshape(-1).view(np.uint8).data)
            else:
                _add(new, info.filename, _content(source.path, old, info))


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


def _add(archive: zipfile.ZipFile, name: str, data: Any) -> None:
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


def _patched(pickle: bytes, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """The pickle with other shapes, strides and sizes of storages."""
    numbers: dict[tuple[int, int], int] = {}
    for name, shape in shapes.items():
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        values = (int(np.prod(shape)), 0, *shape, *strides)
        numbers |= {(n.start, n.end): value for n, value in zip(tensors[name].numbers, values, strict=True)}
    parts, at = [], 0
    for (start, end), value in sorted(numbers.items()):
        parts += [pickle[at:start], _packed(value)]
        at = end
    return b"".join([*parts, pickle[at:]])


def _packed(number: int) -> bytes:
    """A number as an opcode of a pickle."""
    if number < 2**31:
        return b"J" + number.to_bytes(4, "little")
    raw = number.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


@dataclass(frozen=True)
class _Named:
    """A function or class that the pickle names; none is ever called."""

    name: str


class _Machine:
    """Walks the opcodes of a state dict's pickle."""

    def __init__(self, pickle: bytes) -> None:
        self.pickle = pickle
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object that the pickle describes; raises CheckpointError for what it does not know."""
        for (code, argument, start), end in self._opcodes():
            if code.name == "STOP":
                return self.stack.pop()
            if code.name in _PLAIN:
                self.stack.append(argument)
            elif code.name in _NUMBERS:
                number = _Number(argument)
                number.start, number.end = start, end
                self.stack.append(number)
            elif code.name in _MOVES:
                _MOVES[code.name](self, argument)
            else:
                raise CheckpointError(f"its pickle uses the opcode {code.name}, which no state dict needs")
        raise ValueError("no end")

    def _opcodes(self) -> Iterator[tuple[tuple[Any, Any, int], int]]:
        before: Any = None
        for code, argument, position in pickletools.genops(self.pickle):
            at = int(position or 0)
            if before is not None:
                yield before, at
            before = (code, argument, at)
        yield before, len(self.pickle)

    def popped(self) -> list[Any]:
        """What lies above the last mark."""
        at = self.marks.pop()
        found, self.stack[at:] = self.stack[at:], []
        return found

    def named(self, module: str, name: str) -> None:
        """A function or class by its name."""
        if module == "torch" and name in DTYPES:
            self.stack.append(DTYPES[name])
        elif f"{module}.{name}" in _CALLS:
            self.stack.append(_Named(f"{module}.{name}"))
        else:
            raise CheckpointError(f"its pickle asks for {module}.{name}, which is no part of a state dict; not run")

    def call(self) -> None:
        """What a function of the pickle would give."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Named):
            raise TypeError("a call of what is no function")
        self.stack.append(_CALLS[function.name](*arguments))

    def storage(self) -> None:
        """A storage: its type, key and size."""
        kind, dtype, key, _, numbers = self.stack.pop()
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise TypeError("a reference to what is no storage")
        self.stack.append((dtype, key, numbers))

    def items(self, pairs: Sequence[Any]) -> None:
        """Entries of the dictionary on top."""
        self.stack[-1].update(_dictionary(zip(pairs[::2], pairs[1::2], strict=True)))

    def tuple_of(self, count: int) -> None:
        """The topmost values as one."""
        values = tuple(self.stack[-count:])
        self.stack[-count:] = [values]

    def put(self, at: int | None = None) -> None:
        """Remembers what is on top."""
        self.memo[len(self.memo) if at is None else at] = self.stack[-1]


def _dictionary(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    """Keys are names or numbers: Python takes ages for the hash of a tuple of tuples, or breaks off."""
    pairs = list(pairs)
    if not all(isinstance(key, str | int) for key, _ in pairs):
        raise TypeError("a key that is no name")
    return dict(pairs)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    dtype, key, size = storage
    numbers = (size, offset, *shape, *strides)
    known = len(shape) == len(strides) and all(isinstance(n, _Number) and 0 <= n < _LARGEST for n in numbers)
    if not known or not is_shape(shape, dtype.itemsize):
        raise ValueError("a tensor whose shape is none")
    return Tensor(key, dtype, tuple(map(int, shape)), tuple(map(int, strides)), int(offset), numbers)


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
}
_PLAIN = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINFLOAT")
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4")
_MOVES: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.popped())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.stack[-2].append(machine.stack.pop()),
    "APPENDS": lambda machine, _: (values := machine.popped(), machine.stack[-1].extend(values)),
    "SETITEM": lambda machine, _: (value := machine.stack.pop(), machine.items([machine.stack.pop(), value])),
    "SETITEMS": lambda machine, _: machine.items(machine.popped()),
    "BINPUT": lambda machine, at: machine.put(at),
    "LONG_BINPUT": lambda machine, at: machine.put(at),
    "MEMOIZE": lambda machine, _: machine.put(),
    "BINGET": lambda machine, at: machine.stack.append(machine.memo[at]),
    "LONG_BINGET": lambda machine, at: machine.stack.append(machine.memo[at]),
    "GLOBAL": lambda machine, name: machine.named(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: (name := machine.stack.pop(), machine.named(machine.stack.pop(), name)),
    "BINPERSID": lambda machine, _: machine.storage(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.stack.pop(),  # Attributes of a dictionary, such as versions of modules.
}
