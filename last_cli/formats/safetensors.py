"""The safetensors format, read and written with numpy alone (github.com/huggingface/safetensors, "Format").

Eight bytes: the length of the header, little-endian. The header: a JSON object of name -> {dtype, shape, data_offsets},
and strings under `__metadata__`. Then the data: little-endian, C order, without holes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from last_cli.base.errors import CheckpointError, OutputError

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

# The limit of the reference implementation: a longer header is an attack or garbage.
_LONGEST_HEADER = 100_000_000
_AGAIN = "download or save the file again"


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors by name, in the order of the header, as read-only views of the file, and the metadata.

    Raises:
        CheckpointError: the file is truncated or no safetensors file, or has a dtype that numpy cannot hold.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:  # ValueError: an empty file.
        raise CheckpointError(f"{path}: cannot be read ({error})", _AGAIN) from error
    length = int.from_bytes(data[:8].tobytes(), "little")
    if len(data) < 8 or length > min(len(data) - 8, _LONGEST_HEADER):
        raise CheckpointError(
            f"{path}: not a safetensors file, or truncated: the header should have {length} bytes, "
            f"the file has {len(data)}",
            _AGAIN,
        )
    header = _header(path, data[8 : 8 + length].tobytes())
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: __metadata__ is {type(metadata).__name__}, expected an object", _AGAIN)
    body = np.asarray(data[8 + length :])
    spans = {name: _span(path, name, entry) for name, entry in header.items()}
    end = 0
    for name, (begin, stop, _, _) in sorted(spans.items(), key=lambda item: item[1][:2]):
        if begin != end or stop > len(body):
            raise CheckpointError(
                f"{path}: {name} has the bytes {begin} to {stop}, expected them to begin at {end} and to end "
                f"by {len(body)}",
                _AGAIN,
            )
        end = stop
    if end != len(body):
        raise CheckpointError(f"{path}: {len(body) - end} bytes follow the last tensor, expected none", _AGAIN)
    tensors = {name: body[b:e].view(dtype).reshape(shape) for name, (b, e, dtype, shape) in spans.items()}
    return tensors, {str(key): str(value) for key, value in metadata.items()}


def write(file: BinaryIO, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes the tensors in the order in which they are given.

    Raises:
        OutputError: an array has a dtype that the format does not know; names it.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in tensors.items():
        if (dtype := NAMES.get(array.dtype.newbyteorder("<"))) is None:
            raise OutputError(
                f"{name}: safetensors has no {array.dtype.name}, expected one of {', '.join(DTYPES)}",
                "export to a .pt file, or convert the array",
            )
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # Readers may map the data, which should be aligned.
    file.write(len(text).to_bytes(8, "little") + text)
    for array in tensors.values():
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


def _header(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    try:
        header = json.loads(text.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the safetensors header is no JSON ({error})", _AGAIN) from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: the safetensors header is no JSON object", _AGAIN)
    return header


def _span(path: Path, name: str, entry: Any) -> tuple[int, int, np.dtype, tuple[int, ...]]:
    """Where a tensor begins and ends, its dtype and its shape."""
    try:
        (begin, end), shape, dtype = entry["data_offsets"], tuple(entry["shape"]), DTYPES.get(entry["dtype"])
        numbers = all(type(n) is int and n >= 0 for n in (begin, end, *shape))
    except (TypeError, KeyError, ValueError):
        numbers, begin, end, shape, dtype = False, 0, 0, (), None
    if not numbers:
        raise CheckpointError(f"{path}: {name} has no dtype, shape and data_offsets as they should be", _AGAIN)
    if dtype is None:
        raise CheckpointError(
            f"{path}: {name} has the dtype {entry['dtype']}, expected one of {', '.join(DTYPES)}",
            "convert it to one of these where you have the model",
        )
    if (size := math.prod(shape) * dtype.itemsize) != end - begin:
        raise CheckpointError(f"{path}: {name} has {end - begin} bytes, expected {size} for its shape {shape}", _AGAIN)
    return begin, end, dtype, shape
