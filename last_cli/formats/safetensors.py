"""Files of safetensors (github.com/huggingface/safetensors): read by its library, written by us.

Eight bytes: the length of the header, little-endian. The header: a JSON object of name -> {dtype, shape, data_offsets},
and strings under `__metadata__`. Then the data: little-endian, C order, without holes.

The library writes all tensors at once and in an order of its own; a file that is given back must have the one that it
had, and tensors of many layers are better written one after the other.
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
from last_cli.base.files import regular

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

_FLOAT8 = ("F8_E4M3", "F8_E5M2")  # The library looks for them in numpy itself, which has none.
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


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors by name, in the order of the header, and the metadata.

    Raises:
        CheckpointError: the file is truncated or no safetensors file, or has a dtype that numpy cannot hold.
    """
    with opened(path) as file:
        header, start = _header(path)  # The library keeps no order of metadata, nor of tensors without numbers.
        metadata = header.pop("__metadata__", None) or {}
        return {name: _tensor(path, file, name, entry, start) for name, entry in header.items()}, metadata


def write(file: BinaryIO, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a file, one tensor after the other.

    Args:
        file: open for writing.
        tensors: in the order that the file will have.
        metadata: as the file will have it.

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


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the data begin, of a file that the library accepts: it reads over names that occur twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise CheckpointError(f"{path}: a name occurs twice in the safetensors header", _AGAIN)
        return found

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length), object_pairs_hook=unique), 8 + length


def _tensor(path: Path, file: Any, name: str, entry: Mapping[str, Any], start: int) -> np.ndarray:
    code, shape, (begin, _) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if code not in DTYPES:
        raise CheckpointError(
            f"{path}: {name} has the dtype {code}, expected one of {', '.join(DTYPES)}",
            "convert it to one of these where you have the model",
        )
    if code in _FLOAT8:
        return np.fromfile(path, DTYPES[code], math.prod(shape), offset=start + begin).reshape(shape)
    return file.get_tensor(name)


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
