"""The model that a checkpoint describes, and its variables."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from last_cli.base.errors import inside
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.lti.network.spec import ModelSpec, Tree, read_spec


def model_spec(checkpoint: Checkpoint) -> ModelSpec:
    """The model that the tree and the configuration describe; raises CheckpointError where there is none."""
    with inside(checkpoint.index.location.path):
        return read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)


def read_variables(checkpoint: Checkpoint) -> dict[str, Any]:
    """The classifier's variables, nested, in single precision."""
    nested: dict[str, Any] = {}
    for path, array in _flat(checkpoint).items():
        node = nested
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = array
    return nested


def variables_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over all variables: names, shapes and bytes in single precision."""
    total = hashlib.sha256()
    for path, array in sorted(_flat(checkpoint).items()):
        total.update(f"{'/'.join(path)} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _flat(checkpoint: Checkpoint) -> dict[tuple[str, ...], np.ndarray]:
    keys = Tree.of(checkpoint.layers).variables({k: k for k, f in checkpoint.leaves.items() if f.kind == "array"})
    arrays = checkpoint.read(keys.values())
    return {path: arrays[key].astype(np.float32) for path, key in keys.items()}
