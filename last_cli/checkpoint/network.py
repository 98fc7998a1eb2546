"""The model that a checkpoint describes, and its variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from last_cli.base.arrays import digest, nested
from last_cli.base.errors import inside
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.lti.network.spec import ModelSpec, Tree, read_spec


def model_spec(checkpoint: Checkpoint) -> ModelSpec:
    """The model that the tree and the configuration describe; raises CheckpointError where there is none."""
    with inside(checkpoint.index.location.path):
        return read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)


def read_variables(checkpoint: Checkpoint) -> dict[str, Any]:
    """The classifier's variables, nested, in single precision."""
    return nested(_flat(checkpoint))


def variables_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over all variables: names, shapes and bytes in single precision."""
    return digest(("/".join(path), array) for path, array in sorted(_flat(checkpoint).items())).hex()


def _flat(checkpoint: Checkpoint) -> dict[tuple[str, ...], np.ndarray]:
    keys = Tree.of(checkpoint.layers).variables({k: k for k, f in checkpoint.leaves.items() if f.kind == "array"})
    arrays = checkpoint.read(keys.values())
    return {path: arrays[key].astype(np.float32) for path, key in keys.items()}
