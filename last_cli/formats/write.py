"""Write a checkpoint: a changed copy of one that was read, or a new one."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from last_cli.formats.account import beyond_layout
from last_cli.formats.format import NEW, Changes, format_named
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
        stamp: goes into `last.json`, and into the metadata of the format where that has such for its users. The file
            names the files in the output that are no part of the layout too, with their digests.
        force: replace a checkpoint, and nothing else, that is there.
        also: changed leaves of other items of the step, by item (an optimizer state of its own, say).

    Raises:
        OutputError: the output exists, lies in the source, or cannot be written.
        CheckpointError: the source cannot be read.
    """
    root = source.location.root if source else None
    stamp = {key: value for key, value in stamp.items() if key != "written"}  # That of the source is not of the copy.
    with staged(Path(out), source=root, force=force) as stage:
        if source:
            format_named(source.location.format).mirror(source, stage, Changes(changed, also, stamp))
        else:
            format_named(NEW).write(stage, changed, stamp)
        written = {"files": beyond_layout(stage)}
        (stage / STAMP_FILE).write_text(json.dumps({**stamp, "written": written}, indent=1))


def check_output(out: Path | str, *, source: Index, force: bool = False) -> None:
    """What `save` checks first, for before the work that makes the arrays.

    Raises:
        OutputError: `save` would refuse the output.
    """
    check(Path(out), source=source.location.root, force=force)
