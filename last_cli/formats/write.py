"""Write a checkpoint: a changed copy of one that was read, or a new one."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from last_cli.formats.orbax.mirror import mirror
from last_cli.formats.orbax.store import writing
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
    """Writes the checkpoint `out`, whole or not at all.

    With a `source`, the output mirrors it (items, step, wrapping, format, everything that lies beside) and holds every
    leaf of it, those in `changed` replaced; shapes may differ. `changed` may be lazy: each value is asked for once,
    from several threads, and let go once it is written. `also` are changed leaves of other items of the step, by item
    (an optimizer state of its own, say). Without a `source`, the output is a bare Orbax checkpoint of `changed`.
    `stamp` goes into `last.json` and, where there is one, into Orbax's `custom_metadata` under the key "last".

    Raises OutputError where the output exists (unless `force`, and it is a checkpoint), lies in the source, or cannot
    be written; CheckpointError where the source cannot be read.
    """
    out = Path(out)
    root = source.location.root if source else None
    with staged(out, source=root, force=force) as stage:
        if source:
            mirror(source, stage, changed, also, stamp)
        else:
            _write_new(stage, changed, stamp)
        (stage / STAMP_FILE).write_text(json.dumps(stamp, indent=1))


def check_output(out: Path | str, *, source: Index, force: bool = False) -> None:
    """Raises OutputError where `save` would refuse the output; for before the work that makes it."""
    check(Path(out), source=source.location.root, force=force)


def _write_new(stage: Path, changed: Mapping[Key, np.ndarray], stamp: dict[str, Any]) -> None:
    import orbax.checkpoint as ocp

    tree: dict[str, Any] = {}
    for (*parents, name), value in changed.items():
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        arguments = ocp.args.StandardSave(tree)  # pyright: ignore[reportCallIssue]
        with writing():
            checkpointer.save(stage.absolute(), arguments, force=True, custom_metadata={"last": stamp})
