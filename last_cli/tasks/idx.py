"""IDX files, as MNIST has them: a header with the shape, then the bytes of the array."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np

from last_cli.base.annotations import UInt8
from last_cli.base.errors import DataError
from last_cli.base.files import is_shape, regular

BYTES = 0x08
LARGEST = 2**28  # many times what MNIST and its relatives have


def read_idx(path: Path, hint: str) -> UInt8[np.ndarray, "*shape"]:
    """The array of bytes in a file, which may be packed by gzip.

    Raises:
        DataError: it cannot be read, or is no IDX file of bytes.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(regular(path), "rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", hint) from error
    if len(content) > LARGEST:
        raise DataError(f"{path}: expected at most {LARGEST:,} bytes, found more", hint)
    if len(content) < 4 or content[:3] != bytes([0, 0, BYTES]):
        raise DataError(f"{path}: expected an IDX file of bytes, found one that starts with {content[:4].hex()}", hint)
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{path}: the file ends within its header", hint)
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != prod(shape) or not is_shape(shape):
        raise DataError(f"{path}: expected {prod(shape)} bytes for shape {shape}, found {len(content) - start}", hint)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
