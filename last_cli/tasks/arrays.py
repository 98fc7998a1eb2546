"""A task that is a file, FILE.npz: a user's own arrays x, y and, where sequences are padded, lengths."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from last_cli.base.errors import DataError, UsageError
from last_cli.base.files import open_npz
from last_cli.base.rows import Rows, Stored, blocks, stored_in
from last_cli.tasks.task import Query, Split, Task

HINT = (
    "write it with numpy.savez(FILE, x=x, y=y, lengths=lengths): x is tokens (n, L) or features (n, L, d), "
    "y the classes (n,), and lengths (n,) may be left out"
)


def file_task(name: str) -> Task:
    """The task of a file, called by its name."""
    read = partial(_read, Path(name))
    return Task(name=name, version=1, summary=f"the arrays in {name}", read=read, selection_split="test")


def load_arrays(path: Path) -> Split:
    """The arrays x (n, L) of tokens, (n, L) or (n, L, d) of features, y (n,) and perhaps lengths (n,) of a file.

    The classes are as many as the largest label shows; a model may have more. Where the file is not compressed, x stays
    in it, to be read as it is needed.

    Raises:
        DataError: the file is missing or damaged, or its arrays do not fit each other.
    """
    stored, y, lengths = _arrays(path)
    x = _sequences(path, stored)
    y = _whole(path, "y", y, x.shape[:1], 0, np.iinfo(np.int32).max)
    return Split(
        x=x,
        y=y,
        lengths=None if lengths is None else _whole(path, "lengths", lengths, x.shape[:1], 1, x.shape[1]),
        source="arrays",
        classes=int(y.max()) + 1,
        length=x.shape[1],
        vocabulary=None,
        note=f"these are the arrays in {path}",
    )


def _read(path: Path, query: Query) -> Split:
    if query.split != "test":
        raise UsageError(f"{path} holds one split, and '{query.split}' is asked for", "leave out ⟦split⟧")
    if query.data_dir is not None:
        raise UsageError(f"the task is the file {path}, and reads no data directory", "leave out ⟦data_dir⟧")
    return load_arrays(path)


def _arrays(path: Path) -> tuple[np.ndarray | Stored, np.ndarray, np.ndarray | None]:
    try:
        with open_npz(path) as archive:
            if not {"x", "y"} <= set(archive.files):
                found = ", ".join(archive.files) or "none"
                raise DataError(f"{path}: expected the arrays x and y, found {found}", HINT)
            x = stored_in(path.expanduser(), "x")
            x = archive["x"] if x is None else x
            return x, archive["y"], archive["lengths"] if "lengths" in archive.files else None
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", HINT) from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", HINT) from error


def _sequences(path: Path, x: np.ndarray | Stored) -> Rows:
    if x.dtype.kind in "iu" and x.ndim == 2 and x.size:
        for block in blocks(x):
            _whole(path, "x", block, block.shape, 0, np.iinfo(np.int32).max)
        return Rows.of(x, lambda rows: rows.astype(np.int32))
    if x.dtype.kind == "f" and x.ndim in (2, 3) and x.size:
        with np.errstate(over="ignore"):
            finite = all(np.isfinite(block.astype(np.float32)).all() for block in blocks(x))
        if not finite:
            raise DataError(f"{path}: x has values that are not finite, as float32", "correct the file")
        return Rows.of(x, lambda rows: rows.astype(np.float32).reshape(*rows.shape[:2], -1))
    raise DataError(
        f"{path}: expected x to be whole numbers (n, L) or real numbers (n, L) or (n, L, d), "
        f"found {x.dtype} of shape {x.shape}",
        HINT,
    )


def _whole(path: Path, name: str, array: np.ndarray, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """The array as int32, checked."""
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise DataError(
            f"{path}: expected {name} to be whole numbers of shape {shape}, found {array.dtype} of shape {array.shape}",
            HINT,
        )
    if array.min() < low or array.max() > high:
        raise DataError(f"{path}: expected {name} from {low} to {high}, found {array.min()} to {array.max()}", HINT)
    return array.astype(np.int32)
