"""Files of safetensors (github.com/huggingface/safetensors): read by its library, written by us.

Eight bytes: the length of the header, little-endian. The header: a JSON object of name -> {dtype, shape, data_offsets},
and strings under `__metadata__`. Then the data: little-endian, C order, without holes.

The library writes all tensors at once and in an order of its own; a file that is given back must have the one that it
had, and tensors of many layers are better written one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from last_cli.base.errors import CheckpointError, OutputError
from last_cli.base.files import is_shape, regular

DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("<u1"),
    "I8": np.dtype("<i1"),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

_AGAIN = "download or save the file again"


def opened(path: Path) -> Any:
    """A file as `safetensors.safe_open` has it, for a `with`: its tensors are read one by one, or in slices.

    Raises:
        CheckpointError: the file cannot be read, is truncated, or is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(regular(path), framework="numpy")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})", _AGAIN) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {_fault(path, str(error))}", _AGAIN) from error


@dataclass(frozen=True)
class Tensor:
    """Where one tensor lies: `begin` counts bytes from the start of the file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int


@dataclass(frozen=True)
class Header:
    """A file that was looked through, in the order of its header; no tensor was read."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        tensor = self.tensors[name]
        found = np.fromfile(self.path, tensor.dtype, math.prod(tensor.shape), offset=tensor.begin)
        return found.reshape(tensor.shape)


def header(path: Path) -> Header:
    """What is in a file.

    Raises:
        CheckpointError: the file is truncated or no safetensors file, or has a dtype that numpy cannot hold.
    """
    with opened(path):  # The library checks the header: that the tensors lie one after the other and fill the file.
        entries, start = _header(path)  # It keeps no order of metadata, nor of tensors without numbers.
    metadata = entries.pop("__metadata__", None) or {}
    return Header(path, {name: _tensor(path, name, entry, start) for name, entry in entries.items()}, metadata)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors by name, in the order of the header, and the metadata; raises what `header` does."""
    found = header(path)
    return {name: found.read(name) for name in found.tensors}, dict(found.metadata)


def write(file: BinaryIO, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a file, one tensor after the other.

    Args:
        file: open for writing.
        tensors: in the order that the file will have.
        metadata: as the file will have it.

    Raises:
        OutputError: an array has a dtype that the format does not know; names it.
    """
    sizes = {name: (array.dtype, array.shape) for name, array in tensors.items()}
    write_streamed(file, sizes, metadata, tensors.__getitem__)


def write_streamed(
    file: BinaryIO,
    sizes: Mapping[str, tuple[np.dtype, tuple[int, ...]]],
    metadata: Mapping[str, str],
    tensor: Callable[[str], np.ndarray],
) -> None:
    """The same with one tensor in memory at a time: `tensor` is asked for each in turn, whose size is known before."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape) in sizes.items():
        if (code := NAMES.get(dtype.newbyteorder("<"))) is None:
            raise OutputError(
                f"{name}: safetensors has no {dtype.name}, expected one of {', '.join(DTYPES)}",
                "export to a .pt file, or convert the array",
            )
        size = math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": code, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # Readers may map the data, which should be aligned.
    file.write(len(text).to_bytes(8, "little") + text)
    for name, (dtype, shape) in sizes.items():
        array = np.asarray(tensor(name), dtype.newbyteorder("<"), order="C")
        assert array.shape == tuple(shape), name
        file.write(array.reshape(-1).view(np.uint8).data)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the data begin, of a file that the library accepts: it reads over names that occur twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise CheckpointError(f"{path}: a name occurs twice in the safetensors header", _AGAIN)
        return found

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length), object_pairs_hook=unique), 8 + length


def _tensor(path: Path, name: str, entry: Mapping[str, Any], start: int) -> Tensor:
    code, shape, (begin, _) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if code not in DTYPES:
        raise CheckpointError(
            f"{path}: {name} has the dtype {code}, expected one of {', '.join(DTYPES)}",
            "convert it to one of these where you have the model",
        )
    if not is_shape(shape, DTYPES[code].itemsize):
        raise CheckpointError(
            f"{path}: {name} has {len(shape)} axes of {shape[:4]} and so on, which no array has", _AGAIN
        )
    return Tensor(DTYPES[code], tuple(shape), start + begin)


def _fault(path: Path, said: str) -> str:
    """What is wrong with a file that the library refuses."""
    if not (size := path.stat().st_size):
        return "cannot be read (an empty file)"
    if "JSON" in said:
        return f"the safetensors header is no JSON object of tensors ({said})"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if size < 8 + length:
        return f"not a safetensors file, or truncated: the header should have {length} bytes, the file has {size}"
    return f"not a safetensors file, or truncated: {said}"
