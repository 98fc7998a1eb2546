"""What a checkpoint is to the rest of `last`: where it lies, and what leaves it has."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ml_dtypes
import numpy as np

Key = tuple[str, ...]
"""The path of a leaf in the tree. A tuple, because the names in it may contain `.` and `/`."""

STAMP_FILE = "last.json"
"""The file at the root of a checkpoint that `last` wrote: how it was made."""

INCOMPLETE = "the checkpoint is damaged or incomplete: copy it again from where it was written, or use another step"
"""The hint of an error about files that are not as they were written."""


def stamp_file(checkpoint: Path) -> Path:
    """Where the stamp of a checkpoint lies: in its directory, or beside a file as NAME.last.json."""
    return checkpoint.with_name(f"{checkpoint.name}.{STAMP_FILE}") if checkpoint.is_file() else checkpoint / STAMP_FILE


# numpy parses other names as descriptions of structures, by Python's own parser.
_TYPE = re.compile(r"[<>=|]?[A-Za-z]\w{0,30}")


def dtype_of(name: str) -> np.dtype:
    """A numpy dtype by its name, those of ml_dtypes (bfloat16, float8_e4m3fn, ...) included.

    Raises:
        TypeError: there is none, or it is none of numbers.
    """
    if not _TYPE.fullmatch(name):
        raise TypeError(f"{name[:80]!r} is no type of numbers")
    extended = getattr(ml_dtypes, name, None)
    dtype = np.dtype(extended if isinstance(extended, type) and issubclass(extended, np.generic) else name)
    if not (extended or dtype.kind in "biufc") or dtype.hasobject:
        raise TypeError(f"{name!r} is no type of numbers")
    return dtype


@dataclass(frozen=True)
class Leaf:
    """One leaf of the tree, known without its data.

    `kind` is "array", "scalar" (a Python or numpy number), "string", "none", or "empty" (an empty dict, list or
    tuple); `shape` is () and `dtype` is "" where there is no number.
    """

    key: Key
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True)
class Location:
    """Where a checkpoint lies.

    Attributes:
        path: what the user named.
        directory: the directory (or file) that holds the tree.
        root: what the user thinks of as the checkpoint, and what is mirrored on writing.
        format: the entry of the table of formats that reads and writes it.
        layout: how the format laid out the tree, as users see it: "orbax-ocdbt", "orbax-zarr", "msgpack", ...
        step, item: where the format has such.
        notes: what was chosen and what passed over.
        items: all items of the step that hold a tree.
    """

    path: Path
    directory: Path
    root: Path
    format: str
    layout: str
    step: int | None = None
    item: str | None = None
    notes: tuple[str, ...] = ()
    items: tuple[str, ...] = ()


@runtime_checkable
class Store(Protocol):
    """The arrays of one tree on disk, none of them in memory."""

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays of these names, bit by bit as stored.

        Raises:
            CheckpointError: one cannot be read; names it and its file.
        """
        ...


@dataclass(frozen=True)
class Tree:
    """The leaves of one tree, and where their values are.

    Attributes:
        leaves: in the order of the tree.
        inline: the values that came with the tree: strings, and the numbers of a msgpack tree.
        names: the other numeric leaves, each with its name in the store.
        store: the arrays on disk; None where all values are inline.
        custom: the user's metadata of the tree.
        warnings: how it was read where that was not as usual, and what is odd about the store.
        writable: whether its form is one that can be written back.
    """

    leaves: Mapping[Key, Leaf]
    inline: Mapping[Key, Any] = field(default_factory=dict)
    names: Mapping[Key, str] = field(default_factory=dict)
    store: Store | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    writable: bool = True


@dataclass(frozen=True)
class Written:
    """The digests in a stamp, of the checkpoint as `last` wrote it.

    Attributes:
        root: the directory or file that they describe.
        file: that holds the stamp.
        arrays: of the leaves, by the path of their tree in `root` ("" for `root` itself) and by name.
        files: of all files but those that hold arrays, by path in `root`.
        intact: whether the rest of the stamp still has the digest that it was written with.
    """

    root: Path
    file: Path
    arrays: Mapping[str, Mapping[str, str]]
    files: Mapping[str, str]
    intact: bool


@dataclass(frozen=True)
class Beside:
    """What lies beside a tree: see Index for `config`, `stamp` and `written`.

    `warnings`: files that could not be read. `lost`: the stamp's own file, where only a copy without digests is left.
    """

    config: Mapping[str, Any]
    stamp: dict[str, Any] | None
    warnings: tuple[str, ...] = ()
    written: Written | None = None
    lost: Path | None = None


@dataclass(frozen=True)
class Index:
    """The leaves of a checkpoint and what lies beside them; no array data.

    Attributes:
        location: where it lies.
        leaves: of its tree.
        stamp: what `last` wrote when it made the checkpoint, None where it did not; its digests stand in `written`.
        config: what was found, by where: "custom_metadata" (of the step), "tree_metadata" (of the tree),
            "root_metadata" (of the run), "item:NAME" (a JSON item), "leaves" (the leaves below a key `config`),
            "file:PATH" (a JSON or YAML file, the nearest first; the path from the folder of the step).
        warnings: anything odd.
        tree: where the values of the leaves are.
        written: the digests that the stamp holds; None where it has none, as those of `last` 0.1.
        checked: whether what is read must have these digests.
        lost: the stamp's own file, where it is not there and `stamp` is a copy of it that nothing confirms.
    """

    location: Location
    leaves: Mapping[Key, Leaf]
    stamp: dict[str, Any] | None
    config: dict[str, Any]
    warnings: tuple[str, ...]
    tree: Tree = field(repr=False)
    written: Written | None = field(default=None, repr=False)
    checked: bool = True
    lost: Path | None = None
