"""The pickle of a state dict, walked opcode by opcode and never run.

A small machine knows dictionaries, tuples, numbers, strings and tensors, and builds nothing else: whatever the pickle
asks for besides is refused by name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.files import is_shape

_LARGEST = 2**63

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


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: a view of one of its storages. `strides` and `offset` count numbers, not bytes."""

    storage: str
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    numbers: tuple[Number, ...] = ()


class Number(int):
    """An integer of the pickle, with the places of its opcode's first byte and of the one after its last."""

    start: int
    end: int


@dataclass(frozen=True)
class _Named:
    """A function or class that the pickle names; none is ever called."""

    name: str


class Machine:
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
                number = Number(argument)
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
    known = len(shape) == len(strides) and all(isinstance(n, Number) and 0 <= n < _LARGEST for n in numbers)
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
_TYPED = ("GLOBAL", "STACK_GLOBAL", "BINGET", "LONG_BINGET")
_MOVES: dict[str, Callable[[Machine, Any], Any]] = {
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
