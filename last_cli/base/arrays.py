"""Arrays under names: nested from flat keys, and told from others by a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from last_cli.base.rows import Rows, Stored, blocks


def nested(flat: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """A tree of dictionaries from the paths to its leaves.

    Args:
        flat: a leaf for each path, which has at least one part; no path leads through another one's leaf.
    """
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = leaf
    return tree


def digest(arrays: Iterable[tuple[str, Any]]) -> bytes:
    """SHA-256 over the arrays in their order: of each a line `NAME TYPE SHAPE`, then its bytes, row by row.

    Rows on disk are read a block at a time, and arrays in memory are not copied unless they lie otherwise than by rows.

    Args:
        arrays: names and arrays of numpy or of JAX, `Rows` or `Stored`; without a name the line is `TYPE SHAPE`.

    Returns:
        The 32 bytes of the digest.
    """
    total = hashlib.sha256()
    for name, array in arrays:
        total.update(f"{name} {array.dtype} {array.shape}\n".removeprefix(" ").encode(errors="surrogatepass"))
        for block in blocks(array) if isinstance(array, Rows | Stored) else (array,):
            total.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    return total.digest()
