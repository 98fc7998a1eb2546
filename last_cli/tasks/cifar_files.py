"""CIFAR-10's python version: pickles of a dictionary with the pixels in an array and the labels in a list.

A pickle may run any code when it is read. This reader gives it nothing to run: each of the few names that an array is
pickled under stands for a function of our own that only keeps what it is given, and any other name is refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from last_cli.base.annotations import Int64, UInt8
from last_cli.base.errors import DataError
from last_cli.base.files import regular

CLASSES, SIDE = 10, 32
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = ("test_batch",)
NESTED = (".", "cifar-10-batches-py", "cifar/cifar-10-batches-py", "cifar10/cifar-10-batches-py")
HINT = "unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (tar -xf)"


def read_batch(path: Path) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"]]:
    """Images and labels of one batch file.

    Raises:
        DataError: it cannot be read, or is no batch of CIFAR-10; or it holds more than plain data.
    """
    try:
        content = regular(path).read_bytes()
        _check_sizes(content)
        content = _Reader(io.BytesIO(content), encoding="latin1").load()
    except _Refused as error:
        raise DataError(f"{path}: {error}, expected the plain arrays of CIFAR-10", HINT) from error
    except Exception as error:  # damaged pickles fail in many ways
        raise DataError(f"cannot read {path} as a pickle of CIFAR-10: {error}", HINT) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dictionary, found {type(content).__name__}", HINT)
    content = {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in content.items()}
    return _images(path, content.get("data")), _labels(path, content)


def _images(path: Path, data: Any) -> np.ndarray:
    width = 3 * SIDE * SIDE
    if not isinstance(data, _Array) or data.dtype not in ("u1", "uint8", "|u1") or data.fortran:
        raise DataError(f"{path}: expected an array of bytes under 'data', found {_describe(data)}", HINT)
    data = replace(data, raw=_as_bytes(path, data.raw))
    if len(data.shape) != 2 or data.shape[1] != width or len(data.raw) != data.shape[0] * width:
        raise DataError(
            f"{path}: expected {width} bytes an image, found shape {data.shape} in {len(data.raw)} bytes", HINT
        )
    planes = np.frombuffer(data.raw, np.uint8).reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _labels(path: Path, content: dict[Any, Any]) -> np.ndarray:
    labels, n = content.get("labels"), content["data"].shape[0]
    if not isinstance(labels, list) or not all(type(v) is int and 0 <= v < CLASSES for v in labels):
        raise DataError(f"{path}: expected a list of labels from 0 to {CLASSES - 1} under 'labels'", HINT)
    if len(labels) != n:
        raise DataError(f"{path}: expected {n} labels, as there are images, found {len(labels)}", HINT)
    return np.array(labels, np.int64)


def _describe(data: Any) -> str:
    return f"one of {data.dtype}" if isinstance(data, _Array) else "nothing" if data is None else type(data).__name__


def _as_bytes(path: Path, raw: str | bytes | bytearray) -> bytes:
    """Python 2 pickled bytes as text, and Python 3 does so for Python 2."""
    try:
        return raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: expected an array of bytes under 'data', found text", HINT) from error


def _check_sizes(content: bytes) -> None:
    """A pickle makes room for what it announces, before it is there.

    Raises:
        ValueError: a part has more bytes, or a place in the memory a higher number, than there are bytes in all.
    """
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise ValueError(f"it remembers a value as number {argument:,} in {len(content):,} bytes")


class _Refused(pickle.UnpicklingError):
    pass


class _Reader(pickle._Unpickler):
    """The unpickler that Python keeps in Python, since its dictionaries can be told what is a key."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        found = _NAMES.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise _Refused(f"the pickle asks for {module}.{name}")
        return found


def _set_items(reader: Any) -> None:
    """Keys are names or numbers: Python takes ages for the hash of a tuple of tuples, or breaks off."""
    pairs = reader.pop_mark()
    _check_keys(pairs[::2])
    reader.stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))


def _set_item(reader: Any) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    _check_keys([key])
    reader.stack[-1][key] = value


def _make_dict(reader: Any) -> None:
    pairs = reader.pop_mark()
    _check_keys(pairs[::2])
    reader.append(dict(zip(pairs[::2], pairs[1::2], strict=True)))


def _check_keys(keys: Iterable[Any]) -> None:
    if not all(isinstance(key, str | bytes | int) for key in keys):
        raise _Refused("the pickle holds a dictionary by other things than names")


def _build(reader: Any) -> None:
    """Attributes, of our own two classes alone."""
    if not isinstance(reader.stack[-2], _Array | _DType):
        raise _Refused("the pickle sets attributes of something")
    reader.stack[-2].__setstate__(reader.stack.pop())


def _refuse(_: Any) -> None:
    raise _Refused("the pickle holds sets or objects")


_REFUSED = ("FROZENSET", "ADDITEMS", "EMPTY_SET", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")
_Reader.dispatch |= {getattr(pickle, name)[0]: _refuse for name in _REFUSED}
_Reader.dispatch |= {pickle.SETITEMS[0]: _set_items, pickle.SETITEM[0]: _set_item}
_Reader.dispatch |= {pickle.DICT[0]: _make_dict, pickle.BUILD[0]: _build}


class _DType:
    def __init__(self, name: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """The byte order and so on, which bytes do not have."""


@dataclass
class _Array:
    """What a pickled array is made of; the arguments of `numpy.core.multiarray._reconstruct` say nothing of it."""

    shape: tuple[int, ...] = ()
    dtype: Any = None
    fortran: bool = False
    raw: str | bytes | bytearray = b""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, self.fortran, raw = state
        self._keep(shape, dtype, raw)

    def _keep(self, shape: Any, dtype: Any, raw: Any) -> None:
        if not isinstance(dtype, _DType) or not isinstance(raw, str | bytes | bytearray):
            raise _Refused("the pickle holds an array that is not of plain bytes")
        self.shape = tuple(int(n) for n in shape)
        self.dtype = dtype.name
        self.raw = raw


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: str) -> _Array:
    array = _Array()
    array.fortran = order != "C"
    array._keep(shape, dtype, raw)
    return array


def _encode(text: Any, encoding: Any) -> str:
    """How Python 3 writes bytes for Python 2. They stay text here, or each mention would be a copy."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("the pickle holds bytes in an unknown encoding")
    return text


def _ndarray(*_: Any) -> None:
    raise _Refused("the pickle makes an array by itself")


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): lambda name, *_: _DType(name),
    ("_codecs", "encode"): _encode,
}
