"""Writes a new checkpoint, as Orbax itself does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.arrays import nested
from last_cli.formats.orbax.copies import sign_commit
from last_cli.formats.orbax.metadata import COMMIT_FILE
from last_cli.formats.orbax.store import writing
from last_cli.formats.types import Key


def write(stage: Path, arrays: Mapping[Key, np.ndarray], stamp: dict[str, Any]) -> None:
    """Writes a bare tree of arrays, with the stamp in its metadata; see Format.write."""
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        arguments = ocp.args.StandardSave(nested(arrays))  # pyright: ignore[reportCallIssue]
        with writing():
            checkpointer.save(stage.absolute(), arguments, force=True, custom_metadata={"last": stamp})
    sign_commit(stage / COMMIT_FILE)  # Orbax names the directory in it, which is not where it stays.
