"""Write a checkpoint: a changed copy of one that was read, or a new one."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from last_cli.formats.digests import array_digests, file_digests, name_of, stamp_digest
from last_cli.formats.format import NEW, Changes, Format, format_named
from last_cli.formats.stage import check, staged
from last_cli.formats.types import STAMP_FILE, Index, Key


def save(
    out: Path | str,
    *,
    source: Index | None,
    changed: Mapping[Key, np.ndarray],
    stamp: dict[str, Any],
    force: bool = False,
    also: Mapping[str, Mapping[Key, np.ndarray]] = MappingProxyType({}),
) -> None:
    """Writes a checkpoint, whole or not at all.

    With a source, the output mirrors it (items, step, wrapping, format, everything that lies beside) and holds every
    leaf of it. Without one, it is a new checkpoint of `changed` alone.

    Args:
        out: the directory that appears.
        source: what is mirrored.
        changed: the leaves that replace those of the source; shapes may differ. They may be lazy: each value is asked
            for once, from several threads, and let go once it is written.
        stamp: goes into `last.json`, with digests of all that was written, and without them into the metadata of the
            format where that has such for its users. An empty one leaves none.
        force: replace a checkpoint, and nothing else, that is there.
        also: changed leaves of other items of the step, by item (an optimizer state of its own, say).

    Raises:
        OutputError: the output exists, lies in the source, or cannot be written.
        CheckpointError: the source cannot be read.
    """
    root = source.location.root if source else None
    with staged(Path(out), source=root, force=force) as stage:
        format = format_named(source.location.format if source else NEW)
        if source:
            trees = format.mirror(source, stage, Changes(changed, also, stamp))
        else:
            format.write(stage, changed, stamp)
            trees = {"": array_digests(changed)}
        written = {"written": written_entry(stage, format, trees, stamp)} if stamp else {}
        (stage / STAMP_FILE).write_text(json.dumps({**stamp, **written}, indent=1))


def written_entry(
    root: Path, format: Format, trees: Mapping[str, Mapping[Key, str]], stamp: Mapping[str, Any]
) -> dict[str, Any]:
    """The digests that the stamp of a checkpoint keeps; see Written.

    Args:
        root: of the checkpoint, complete but for its stamp.
        format: that it is in.
        trees: digests of the leaves, as `Format.mirror` gives them.
        stamp: what else stands in the stamp.
    """

    def is_data(file: Path) -> bool:
        """Whether it holds nothing but arrays that have digests of their own."""
        places = (root / tree for tree in trees)
        return any(place in file.parents and format.is_data(place, file) for place in places)

    return {
        "arrays": {place: {name_of(key): digest for key, digest in tree.items()} for place, tree in trees.items()},
        "files": file_digests(root, is_data),
        "stamp": stamp_digest(stamp),
    }


def check_output(out: Path | str, *, source: Index, force: bool = False) -> None:
    """What `save` checks first, for before the work that makes the arrays.

    Raises:
        OutputError: `save` would refuse the output.
    """
    check(Path(out), source=source.location.root, force=force)
