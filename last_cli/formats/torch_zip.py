"""Files of `torch.save`, read and written back without PyTorch: a zip of a pickle and of raw storages.

The pickle is not run by Python's unpickler. A small machine walks its opcodes and knows dictionaries, tuples, numbers,
strings and tensors: whatever else the pickle asks for is refused by name. A changed copy keeps the pickle byte for byte
but for the numbers of changed shapes, and the names of types where one changes, so that shared (tied) tensors, versions
and wrappers stay as they were.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from last_cli.base.errors import CheckpointError
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

_PICKLE_BYTES = 2**26  # of a pickle with a million tensors; more is no state dict
_ALIGNMENT = 64  # of storages in the file, as PyTorch writes them
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
        except (KeyError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
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
            if archive.getinfo(names[0]).file_size > _PICKLE_BYTES:
                raise CheckpointError(f"{path}: its pickle is larger than that of any state dict", _SAFE)
            if f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder").strip() != b"little":
                raise CheckpointError(f"{path}: written on a big-endian machine, expected little-endian data", _SAFE)
            pickle = archive.read(names[0])
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})", INCOMPLETE) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        reason = f"no zip file as `torch.save` has written since PyTorch 1.6, or truncated ({error})"
        raise CheckpointError(f"{path}: {reason}", _SAFE) from error
    try:
        content = (machine := _Machine(pickle)).run()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.args[0]}", _SAFE) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path}: its pickle is damaged ({type(error).__name__}: {error})", INCOMPLETE) from error
    found = dict(_flat(content)) if isinstance(content, dict) else {}
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensor, expected a state dict", _SAFE)
    return TorchZip(path, root, tensors, tuple(name for name in found if name not in tensors), pickle, machine.kinds)


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
    with zipfile.ZipFile(source.path) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            at = info.filename.removeprefix(f"{source.root}/")
            storage = at.removeprefix("data/") if at.startswith("data/") else None
            if at == "data.pkl":
                _add(new, info.filename, _patched(source, shared, own))
            elif storage in names:
                name = names[storage]
                array = np.ascontiguousarray(changed(name), own[storage])
                _add(new, info.filename, array.reshape(-1).view(np.uint8).data)
            else:
                _add(new, info.filename, old.read(info))


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
    strides = [stride * tensor.dtype.itemsize for stride in tensor.strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides))


def _flat(tree: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


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
        self.kinds: list[tuple[str, tuple[int, int] | None]] = []
        self.kind: tuple[int, int] | None = None

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
                if self.stack and isinstance(self.stack[-1], np.dtype) and code.name in _TYPED:
                    self.kind = (start, end) if code.name != "STACK_GLOBAL" else None
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
        self.kinds.append((key, self.kind))
        self.stack.append((dtype, key, numbers))

    def items(self, pairs: Sequence[Any]) -> None:
        """Entries of the dictionary on top."""
        self.stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))

    def tuple_of(self, count: int) -> None:
        """The topmost values as one."""
        values = tuple(self.stack[-count:])
        self.stack[-count:] = [values]

    def put(self, at: int | None = None) -> None:
        """Remembers what is on top."""
        self.memo[len(self.memo) if at is None else at] = self.stack[-1]


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    dtype, key, size = storage
    numbers = (size, offset, *shape, *strides)
    if len(shape) != len(strides) or not all(isinstance(n, _Number) and n >= 0 for n in numbers):
        raise ValueError("a tensor whose shape is none")
    return Tensor(key, dtype, tuple(map(int, shape)), tuple(map(int, strides)), int(offset), numbers)


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda pairs=(): dict(pairs),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
}
_PLAIN = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINFLOAT")
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4")
_TYPED = ("GLOBAL", "STACK_GLOBAL", "BINGET", "LONG_BINGET")
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
