"""What a file of weights says of its model besides: configuration, task and vocabulary, and how it was pruned.

In safetensors it stands in the header's metadata, beside any other file in NAME.last.json: a key inside a tree of
msgpack would be one too many for whoever restores it into a dataclass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.config import stamp_of
from last_cli.formats import STAMP_FILE
from last_cli.formats.digests import array_digests, stamp_digest, value_digest
from last_cli.formats.stamp import STAMP_SCHEMA, check_stamp, edited, read_stamp, without_digests

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


def sealed(
    stamp: Mapping[str, Any], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The stamp with digests of the file's arrays by name, of its other metadata and of itself; an empty one stays."""
    if not stamp:
        return {}
    files = {} if metadata is None else {"": _metadata_digest(metadata)}
    return {**stamp, "written": {"arrays": {"": _digests(arrays)}, "files": files, "stamp": stamp_digest(stamp)}}


def taken_out(
    src: Path, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """The stamp that came with a file of weights, {} where none did; its other metadata; what is to be said of them.

    Raises:
        CheckpointError: it is not as `last` writes it, or the arrays are not those that it was written with.
    """
    try:
        stamp = json.loads(metadata.get(ENTRY, "null"))
    except (ValueError, RecursionError):
        stamp = None
    if not isinstance(stamp, dict):
        if any(STAMP_SCHEMA in value or '"written"' in value for value in metadata.values()):
            raise _damaged(src, "its header")
        stamp, written = read_stamp([src])
        if written:
            _check(src, written.arrays.get("", {}), arrays)
        return stamp or {}, dict(metadata), edited(written)
    check_stamp(stamp, src)
    rest = {name: value for name, value in metadata.items() if name != ENTRY}
    if written := stamp.get("written"):
        if written["stamp"] != stamp_digest(stamp) or written["files"].get("") != _metadata_digest(rest):
            raise _damaged(src, "what its header says of the model")
        _check(src, written["arrays"].get("", {}), arrays)
    elif any(isinstance(entry, dict) and {"arrays", "stamp"} <= entry.keys() for entry in stamp.values()):
        raise _damaged(src, "its header")
    return without_digests(stamp), rest, ()


def _check(src: Path, said: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    found = _digests(arrays)
    for name in {**said, **found}:
        if said.get(name) != found.get(name):
            raise _damaged(src, f"the array {name}")


def _damaged(src: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{src}: {what} is not as `last export` wrote it",
        "the file is damaged: copy or export it again; where another program wrote it since, let that leave out the "
        f"metadata '{ENTRY}', or remove {src.name}.{STAMP_FILE} beside it",
    )


def _digests(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    found = array_digests({(name,): array for name, array in arrays.items()})
    return {name: found[name,] for name in arrays}


def _metadata_digest(metadata: Mapping[str, str]) -> str:
    return value_digest("metadata", sorted(metadata.items()))
