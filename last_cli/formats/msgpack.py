"""Trees in flax's msgpack format: `flax.serialization.to_bytes` and the `checkpoint` file of older Orbax versions.

Extension type 1 is an array, 2 a complex number, 3 a numpy scalar; arrays above 1 GB are cut into chunks.
"""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from last_cli.base.errors import CheckpointError, UnknownLayoutError
from last_cli.base.files import regular
from last_cli.formats.json_file import shallow
from last_cli.formats.types import INCOMPLETE, dtype_of

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"
_CHUNK_BYTES = 2**30


def read_msgpack(path: Path) -> Any:
    """The tree in a file: nested dicts, arrays as numpy, scalars as Python or numpy ones.

    Raises:
        CheckpointError: the file cannot be read, is truncated, or is no such tree.
        UnknownLayoutError: it holds what flax does not write.
    """
    try:
        raw = regular(path).read_bytes()
        # The limits of msgpack's own exceptions: ValueError and its subclasses, for all that is malformed.
        return _join_chunks(shallow(msgpack.unpackb(raw, raw=False, strict_map_key=False, ext_hook=_unpack_ext)))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except UnknownLayoutError as error:
        raise UnknownLayoutError(f"{path}: {error.args[0]}", INCOMPLETE) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path}: {_fault(error)}", INCOMPLETE) from error


def pack_msgpack(tree: Any) -> bytes:
    """The bytes of `tree` as flax writes them."""
    packed = msgpack.packb(_cut_chunks(tree), default=_pack_ext, strict_types=True)
    assert packed is not None  # As the stubs of msgpack have it.
    return packed


def leaves_of(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf of nested dicts and lists with its path, in order; empty dicts and lists are leaves.

    Args:
        tree: what is walked.
        path: of `tree` itself.
    """
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if not children or (isinstance(tree, (dict, list)) and not tree):
        yield path, tree
        return
    for key, child in children:
        yield from leaves_of(child, (*path, str(key)))


def with_leaves(tree: Any, changed: Any, path: tuple[str, ...] = ()) -> Any:
    """A copy of a tree with some leaves replaced.

    Args:
        tree: nested dicts and lists.
        changed: new leaves by path.
        path: of `tree` itself.
    """
    if path in changed:
        return changed[path]
    if isinstance(tree, dict):
        return {key: with_leaves(child, changed, (*path, str(key))) for key, child in tree.items()}
    if isinstance(tree, list):
        return [with_leaves(child, changed, (*path, str(i))) for i, child in enumerate(tree)]
    return tree


def without_leaves(tree: Any, keys: Set[tuple[str, ...]], path: tuple[str, ...] = ()) -> Any:
    """A copy of a tree without some leaves, and without the dicts that this leaves empty.

    Args:
        tree: nested dicts and lists; what is in a list goes only with all of the list.
        keys: of the leaves.
        path: of `tree` itself.
    """
    if not keys or not isinstance(tree, dict):
        return tree
    left = {}
    for key, child in tree.items():
        below = (*path, str(key))
        leaves = {leaf for leaf, _ in leaves_of(child, below)}
        if not leaves <= keys:
            left[key] = without_leaves(child, keys, below)
    return left


def _fault(error: Exception) -> str:
    if "incomplete input" in str(error):
        return "the msgpack file is truncated"
    return f"not a msgpack tree as flax writes it ({str(error) or type(error).__name__})"


def _unpack_ext(code: int, data: bytes) -> Any:
    if code == _COMPLEX:
        return complex(*msgpack.unpackb(data))
    if code not in (_ARRAY, _SCALAR):
        raise UnknownLayoutError(f"unknown extension type {code}")
    shape, dtype, buffer = msgpack.unpackb(data, raw=True)
    array = np.frombuffer(buffer, dtype_of(dtype.decode())).reshape(shape)
    return array if code == _ARRAY else array[()]


def _pack_ext(value: Any) -> Any:
    if isinstance(value, complex):
        return msgpack.ExtType(_COMPLEX, msgpack.packb((value.real, value.imag)))
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        data = msgpack.packb((array.shape, array.dtype.name, array.tobytes()), use_bin_type=True)
        return msgpack.ExtType(_ARRAY if isinstance(value, np.ndarray) else _SCALAR, data)
    raise TypeError(f"cannot write {type(value).__name__} as msgpack")


def _join_chunks(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if _CHUNKED not in tree:
        return {key: _join_chunks(child) for key, child in tree.items()}
    shape, chunks = (tuple(tree[part][str(i)] for i in range(len(tree[part]))) for part in ("shape", "chunks"))
    if not all(isinstance(chunk, np.ndarray) for chunk in chunks):
        raise ValueError("a chunk of an array is no array")
    return np.concatenate(chunks).reshape(shape)


def _cut_chunks(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _cut_chunks(child) for key, child in tree.items()}
    if not isinstance(tree, np.ndarray) or tree.nbytes <= _CHUNK_BYTES:
        return tree
    flat, size = tree.reshape(-1), _CHUNK_BYTES // tree.itemsize
    chunks = [flat[start : start + size] for start in range(0, flat.size, size)]
    numbered = {"shape": tree.shape, "chunks": chunks}
    return {_CHUNKED: True} | {
        part: {str(i): value for i, value in enumerate(values)} for part, values in numbered.items()
    }
