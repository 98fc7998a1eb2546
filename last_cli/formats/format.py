"""What a format of checkpoints is, and the table of those that are known.

A format is one room or file below formats/ and one line in `FORMATS`. It needs no steps, items or metadata of its own:
a directory of weights with a JSON file beside them is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.formats.types import Beside, Index, Key, Location, Tree

FORMATS: dict[str, str] = {
    "huggingface": "last_cli.formats.huggingface.format:HUGGINGFACE",
    "orbax": "last_cli.formats.orbax.format:ORBAX",
}
"""Every format by name, imported when it is first asked; a path belongs to the first one that finds a tree there."""

Settings = Mapping[str, Mapping[tuple[str, ...], Any]]
"""Values in JSON files, by file and by path of keys; None takes a key out."""

Files = Mapping[str, Path | None]
"""Files that are copied beside a tree, by the names that they get there; None leaves out what has the name."""

NEW = "orbax"
"""The format of a checkpoint that mirrors no other."""


@dataclass(frozen=True)
class Resized:
    """What is known of a changed copy before its arrays are computed.

    Attributes:
        shapes: of the changed leaves.
        settings: new values in JSON files that lie beside the tree, by file and by path of keys.
        files: that come to lie beside the tree, or no longer do.
        dtypes: of the changed leaves that get another one.
        names: keys that leaves of the source get, where these are others; None leaves one out.
        added: dtypes of leaves that the source does not have.
    """

    shapes: Mapping[Key, tuple[int, ...]] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    files: Files = field(default_factory=dict)
    dtypes: Mapping[Key, str] = field(default_factory=dict)
    names: Mapping[Key, Key | None] = field(default_factory=dict)
    added: Mapping[Key, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """What a mirrored copy has otherwise than its source.

    Attributes:
        leaves: by their new keys; they may be lazy: each is asked for once, from several threads, and let go once it is
            written.
        items: of other items of the step, by item; empty in formats that have no items.
        stamp: how the copy was made. `save` writes it to `STAMP_FILE`; a format may keep it in metadata of its own too.
        sizes: what else is known of it; where the shape of a changed leaf is not, it is computed for it.
    """

    leaves: Mapping[Key, np.ndarray]
    items: Mapping[str, Mapping[Key, np.ndarray]]
    stamp: dict[str, Any]
    sizes: Resized = field(default_factory=Resized)

    def shape(self, key: Key) -> tuple[int, ...] | None:
        """The new shape of a leaf; None where it does not change."""
        if key not in self.leaves:
            return None
        return self.sizes.shapes[key] if key in self.sizes.shapes else self.leaves[key].shape


@dataclass(frozen=True)
class Format:
    """How checkpoints lie on disk in one format: functions that the other files of this room ask.

    Attributes:
        title: what it is to a user, with an article: "an Orbax or Flax checkpoint".
        signs: what a directory of it has, for the error where none is found: "manifest.ocdbt or step entries".
        is_below: directory -> whether one lies there, at a glance; an error about its parent points to it.
        locate: path as the user named it, step, item -> the tree, or None where nothing there is of this format.
            Raises CheckpointError where something is, and cannot be used or is not one tree; OSError.
        read_tree: location -> the leaves, without the data of stored arrays. Raises CheckpointError.
        read_beside: location -> config, stamp and warnings. Raises CheckpointError where the stamp is damaged.
        parts: location -> the files of that one checkpoint, as paths below its root, that the layout explains, so that
            `force` may remove them. A user's own files, a configuration too, are none.
        is_data: directory of a tree, file below it -> whether it holds nothing but arrays of the tree, whose leaves
            have digests of their own in the stamp; every other file has one.
        mirror: source, an empty directory, changes -> writes all of the source into the directory, in its own form.
            Returns the digests of all leaves that it wrote, by the path of their tree in the directory ("" for the
            directory itself). Raises OSError where that cannot be written, CheckpointError where the source cannot be
            read or written so, or is not what its stamp says.
        renames: whether a mirrored copy may have other names, and more leaves.
        write: an empty directory, arrays, stamp -> writes a new one. Raises OSError.
    """

    title: str
    signs: str
    is_below: Callable[[Path], bool]
    locate: Callable[[Path, int | None, str | None], Location | None]
    read_tree: Callable[[Location], Tree]
    read_beside: Callable[[Location], Beside]
    parts: Callable[[Location], Set[str]]
    is_data: Callable[[Path, Path], bool]
    mirror: Callable[[Index, Path, Changes], Mapping[str, Mapping[Key, str]]]
    write: Callable[[Path, Mapping[Key, np.ndarray], dict[str, Any]], None]
    renames: bool = False


def format_named(name: str) -> Format:
    """The entry `name` of the table, imported."""
    return _imported(FORMATS[name])


def all_formats() -> Iterator[Format]:
    """Every format, in the order of the table, each imported when its turn comes."""
    return map(format_named, FORMATS)


def lazy(target: str) -> Callable[..., Any]:
    """The function "module:attribute", imported when it is first called, since whoever reads needs none that writes."""

    def call(*args: Any) -> Any:
        return _imported(target)(*args)

    return call


def _imported(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)
