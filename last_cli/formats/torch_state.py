"""A state dict written anew as `torch.save` writes it, without PyTorch and one tensor at a time.

Where names change, or tensors come and go, no copy of the old pickle will do; see torch_zip for where they stay.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import BinaryIO

import numpy as np

from last_cli.formats.torch_pickle import DTYPES
from last_cli.formats.torch_zip import add_entry

ROOT = "archive"
_ORDERED = b"ccollections\nOrderedDict\n)R"
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

Sizes = Mapping[str, tuple[np.dtype, tuple[int, ...]]]


def write(file: BinaryIO, sizes: Sizes, tensor: Callable[[str], np.ndarray], shared: Mapping[str, str]) -> None:
    """Writes a file.

    Args:
        file: open for writing.
        sizes: dtype and shape of every tensor, by name and in order.
        tensor: name -> the tensor; called once for each storage.
        shared: tensors that have the storage of another one, by its name.

    Raises:
        OSError: the file cannot be written.
    """
    owners = [name for name in sizes if name not in shared]
    storages = {name: str(number) for number, name in enumerate(owners)}
    places = {name: storages[shared.get(name, name)] for name in sizes}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as new:
        add_entry(new, f"{ROOT}/data.pkl", _pickle(sizes, places))
        add_entry(new, f"{ROOT}/byteorder", b"little")
        for name in owners:
            array = np.ascontiguousarray(tensor(name), sizes[name][0])
            add_entry(new, f"{ROOT}/data/{storages[name]}", array.reshape(-1).view(np.uint8).data)
        add_entry(new, f"{ROOT}/version", b"3\n")


def _pickle(sizes: Sizes, places: Mapping[str, str]) -> bytes:
    """An ordered dictionary of tensors, by protocol 2."""
    entries = b"".join(_text(name) + _tensor(*sizes[name], places[name]) for name in sizes)
    return b"\x80\x02" + _ORDERED + b"(" + entries + b"u."


def _tensor(dtype: np.dtype, shape: tuple[int, ...], storage: str) -> bytes:
    kind = f"ctorch\n{_NAMES[dtype]}\n".encode()
    numbers = _number(math.prod(shape))
    persistent = b"(" + _text("storage") + kind + _text(storage) + _text("cpu") + numbers + b"tQ"
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    view = _number(0) + _numbers(shape) + _numbers(strides) + b"\x89" + _ORDERED
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + view + b"tR"


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"


def _number(value: int) -> bytes:
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw
