"""What a file of weights says of its model besides: configuration, task and vocabulary, and how it was pruned.

In safetensors it stands in the header's metadata, beside any other file in NAME.last.json: a key inside a tree of
msgpack would be one too many for whoever restores it into a dataclass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.config import stamp_of
from last_cli.formats.stamp import check_stamp, read_stamp

ENTRY = "last"
"""Of the header's metadata."""

# Of the checkpoint that is left: how it came from a file, and its arrays and the files beside them.
LEFT = ("imported", "written")
HEAD = ("schema", "last")


def carried(checkpoint: Checkpoint, said: Mapping[str, Any]) -> dict[str, Any]:
    """The stamp that goes along with a checkpoint's weights; empty where it is no more than what `said` has."""
    stamp = {name: value for name, value in stamp_of(checkpoint).items() if name not in LEFT}
    rest = {name: value for name, value in stamp.items() if name not in HEAD and value not in ({}, [], None)}
    known = {name: value for name, value in said.items() if value not in ({}, [], None)}
    return {} if rest == known else {**{name: stamp[name] for name in HEAD}, **rest}


def taken_out(src: Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The stamp that came with a file of weights, {} where none did, and its other metadata.

    Raises:
        CheckpointError: it is not as `last` writes it.
    """
    try:
        stamp = json.loads(metadata.get(ENTRY, "null"))
    except (ValueError, RecursionError):
        stamp = None
    if not isinstance(stamp, dict):
        return read_stamp([src])[0] or {}, dict(metadata)
    check_stamp(stamp, src)
    return stamp, {name: value for name, value in metadata.items() if name != ENTRY}
