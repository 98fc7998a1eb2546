"""Write a checkpoint: a changed copy of one that was read, or a new one."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from last_cli.base.errors import OutputError
from last_cli.formats.account import drawn_files, stamp_beside
from last_cli.formats.digests import array_digests, file_digests, name_of, stamp_digest
from last_cli.formats.format import NEW, Changes, Format, Resized, format_named
from last_cli.formats.json_file import read_json_object
from last_cli.formats.stage import check, staged, staged_file, staged_with_stamp
from last_cli.formats.stamp import renewed, without_digests
from last_cli.formats.types import STAMP_FILE, Index, Key, Location, stamp_file


def save(
    out: Path | str,
    *,
    source: Index | None,
    changed: Mapping[Key, np.ndarray],
    stamp: dict[str, Any],
    force: bool = False,
    also: Mapping[str, Mapping[Key, np.ndarray]] = MappingProxyType({}),
    resized: Resized | None = None,
) -> None:
    """Writes a checkpoint, whole or not at all.

    With a source, the output mirrors it (items, step, wrapping, format, everything that lies beside) and holds every
    leaf of it. Without one, it is a new checkpoint of `changed` alone.

    Args:
        out: the directory that appears; a name that ends in `.msgpack` is that of a file, with its stamp beside it.
        source: what is mirrored.
        changed: the leaves that replace those of the source; shapes may differ. They may be lazy: each value is asked
            for once, from several threads, and let go once it is written.
        stamp: goes into `last.json`, with digests of all that was written, and without them into the metadata of the
            format where that has such for its users. An empty one leaves none.
        force: replace a checkpoint, and nothing else, that is there.
        also: changed leaves of other items of the step, by item (an optimizer state of its own, say).
        resized: shapes and new dtypes of the changed leaves where these are lazy, and settings and files that change.

    Raises:
        OutputError: the output exists, lies in the source, or cannot be written.
        CheckpointError: the source cannot be read.
    """
    out, root = Path(out), source.location.root if source else None
    format = format_named(source.location.format if source else NEW)
    stamp = without_digests(stamp)  # Those of the source are not of the copy.
    sizes = resized or Resized()
    changes = Changes(changed, also, stamp, sizes)
    if (sizes.names or sizes.added) and not format.renames:
        raise OutputError(f"{out}: names of leaves would change, which {format.title} cannot be written with")
    if _is_file(out, source) and source:
        with staged_with_stamp(out, source=root, force=force) as stage:
            (digests,) = format.mirror(source, stage, changes).values()
            file = (stage / source.location.directory.name).rename(stage / out.name)
            _write_stamp(stamp_beside(file), stamp, written_entry(file, format, {"": digests}, stamp))
        return
    with staged(out, source=root, force=force) as stage:
        if source:
            trees = format.mirror(source, stage, changes)
        else:
            format.write(stage, changed, stamp)
            trees = {"": array_digests(changed)}
        _write_stamp(stage / STAMP_FILE, stamp, written_entry(stage, format, trees, stamp))


def written_entry(
    root: Path, format: Format, trees: Mapping[str, Mapping[Key, str]], stamp: Mapping[str, Any]
) -> dict[str, Any]:
    """The digests that the stamp of a checkpoint keeps; see Written.

    Args:
        root: of the checkpoint, a directory or a file, complete but for its stamp.
        format: that it is in.
        trees: digests of the leaves, as `Format.mirror` gives them.
        stamp: what else stands in the stamp.
    """

    places = [root / tree for tree in trees]

    def is_data(file: Path) -> bool:
        """Whether it holds nothing but arrays that have digests of their own."""
        return any(place in file.parents and format.is_data(place, file) for place in places)

    return {
        "arrays": {place: {name_of(key): digest for key, digest in tree.items()} for place, tree in trees.items()},
        "files": file_digests(root, is_data),
        "stamp": stamp_digest(stamp),
        **({"drawn": drawn} if (drawn := drawn_files(root)) else {}),
    }


def write_stamp(location: Location, stamp: dict[str, Any]) -> Path:
    """Writes a stamp beside the arrays that it is of, in the place of the one that is there; returns where.

    The digests that are there stay, but for that of the stamp itself.

    Raises:
        CheckpointError: what is there is no JSON object.
        OutputError: it cannot be written; nothing is changed.
    """
    step = [] if location.item is None else [location.directory.parent]
    places = map(stamp_file, (location.root, location.directory, *step))
    file = next((place for place in places if place.is_file()), stamp_file(location.root))
    digests = {name: entry for name, entry in read_json_object(file).items() if name == "written"}
    try:
        with staged_file(file, force=True) as stage:
            stage.write(json.dumps(renewed({**stamp, **digests}), indent=1).encode())
    except OutputError as error:
        raise OutputError(error.args[0], "give the same options to each command instead") from error
    return file


FILES = (".safetensors", ".npz", ".npy", ".pt", ".pth", ".bin", ".pkl", ".zip")
"""Suffixes of files, which a checkpoint's directory must not have."""


def check_output(out: Path | str, *, source: Index, force: bool = False) -> None:
    """What `save` checks first, for before the work that makes the arrays.

    Raises:
        OutputError: `save` would refuse the output.
    """
    out = Path(out)
    check(out, source=source.location.root, force=force, file=_is_file(out, source))


def _is_file(out: Path, source: Index | None) -> bool:
    """Whether the output is the one file that the source is.

    Raises:
        OutputError: it has the name of such a file, and the source is none; or that of a file that is never written.
    """
    if out.suffix in FILES:
        raise OutputError(
            f"{out}: would be a directory with the name of a {out.suffix} file",
            "name a directory⟨ with ⟦output⟧|⟩; of that, `last export` writes .safetensors, .pt and .msgpack",
        )
    if out.suffix != ".msgpack":
        return False
    if source is None or not source.location.directory.is_file():
        raise OutputError(
            f"{out}: only a tree that is a msgpack file is written as one",
            "name a directory⟨ with ⟦output⟧|⟩; of that, `last export` writes such a file",
        )
    return True


def _write_stamp(file: Path, stamp: dict[str, Any], written: dict[str, Any]) -> None:
    file.write_text(json.dumps({**stamp, "written": written} if stamp else {}, indent=1))
