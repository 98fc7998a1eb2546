"""Write a checkpoint: a changed copy of one that was read, or a new one."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from last_cli.base.errors import OutputError
from last_cli.formats.format import NEW, Changes, format_named
from last_cli.formats.json_file import read_json_object
from last_cli.formats.stage import check, staged, staged_file
from last_cli.formats.stamp import renewed
from last_cli.formats.types import STAMP_FILE, Index, Key, Location, stamp_file


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
        stamp: goes into `last.json`, and into the metadata of the format where that has such for its users.
        force: replace a checkpoint, and nothing else, that is there.
        also: changed leaves of other items of the step, by item (an optimizer state of its own, say).

    Raises:
        OutputError: the output exists, lies in the source, or cannot be written.
        CheckpointError: the source cannot be read.
    """
    root = source.location.root if source else None
    with staged(Path(out), source=root, force=force) as stage:
        if source:
            format_named(source.location.format).mirror(source, stage, Changes(changed, also, stamp))
        else:
            format_named(NEW).write(stage, changed, stamp)
        (stage / STAMP_FILE).write_text(json.dumps(stamp, indent=1))


def write_stamp(location: Location, stamp: dict[str, Any]) -> Path:
    """Writes a stamp beside the arrays that it is of, in the place of the one that is there; returns where.

    Raises:
        CheckpointError: what is there is no JSON object.
        OutputError: it cannot be written; nothing is changed.
    """
    step = [] if location.item is None else [location.directory.parent]
    places = map(stamp_file, (location.root, location.directory, *step))
    file = next((place for place in places if place.is_file()), stamp_file(location.root))
    read_json_object(file)
    try:
        with staged_file(file, force=True) as stage:
            stage.write(json.dumps(renewed(stamp), indent=1).encode())
    except OutputError as error:
        raise OutputError(error.args[0], "give the same options to each command instead") from error
    return file


def check_output(out: Path | str, *, source: Index, force: bool = False) -> None:
    """What `save` checks first, for before the work that makes the arrays.

    Raises:
        OutputError: `save` would refuse the output.
    """
    check(Path(out), source=source.location.root, force=force)
