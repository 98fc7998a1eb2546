"""The network that a checkpoint's layers stand in: its spec, its variables, and the model that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.arrays import digest, nested
from last_cli.base.errors import CheckpointError, inside
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.families.lti.config import ModelConfig
from last_cli.families.network import Network, Systems, shared_network


def network_of(checkpoint: Checkpoint) -> Network:
    """The network that all layers stand in; raises CheckpointError where they have none, or different ones."""
    with inside(checkpoint.index.location.path):
        return shared_network(checkpoint.layers)


def model_spec(checkpoint: Checkpoint) -> Any:
    """The model that the tree and the configuration describe.

    Returns:
        The spec, of a type of the network's own; see families.network.Spec for what all of them have.

    Raises:
        CheckpointError: there is none, or a configuration says of it what cannot be, given the tree.
    """
    if checkpoint.contradictions:
        raise CheckpointError(
            f"{checkpoint.index.location.path}: {'; '.join(checkpoint.contradictions)}",
            "is the configuration another run's, or were the running statistics not saved? mend it, or move it away",
        )
    with inside(checkpoint.index.location.path):
        return spec_of(checkpoint, checkpoint.config)


def runs(checkpoint: Checkpoint) -> bool:
    """Whether a network of ours runs the model."""
    try:
        model_spec(checkpoint)
    except CheckpointError:
        return False
    return True


def spec_of(checkpoint: Checkpoint, config: ModelConfig) -> Any:
    """The model that the tree and another configuration describe; raises CheckpointError where they are of none."""
    files = checkpoint.index.config
    return network_of(checkpoint).spec(checkpoint.leaves, checkpoint.layers, config, files)


def build_model(checkpoint: Checkpoint | str | Path) -> tuple[Any, dict[str, Any]]:
    """A Flax module for the checkpoint and its variables, for inference or fine-tuning; see module.Classifier.

    Raises:
        CheckpointError: the tree is no model that can be built.
    """
    import jax

    checkpoint = opened(checkpoint)
    module = network_of(checkpoint).module(model_spec(checkpoint))
    return module, jax.tree.map(jax.numpy.asarray, read_variables(checkpoint))


def systems_of(checkpoint: Checkpoint) -> Systems:
    """The systems by name of the layers that are some; raises CheckpointError where their numbers are not finite."""
    return {layer.name: checkpoint.system(layer) for layer in checkpoint.layers if layer.family.system}


def follow_padding(checkpoint: Checkpoint, padded: bool) -> Checkpoint:
    """The checkpoint with `padded` as the data have it, where nothing else decides: so does the S5 code."""
    if checkpoint.origins.get("padded") != "assumed":
        return checkpoint
    return replace(checkpoint, config=replace(checkpoint.config, padded=padded))


def read_variables(checkpoint: Checkpoint) -> dict[str, Any]:
    """The model's variables, nested, in single precision."""
    return nested(flat_variables(checkpoint))


def variables_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over all variables: names, shapes and bytes in single precision."""
    return digest(("/".join(path), array) for path, array in sorted(flat_variables(checkpoint).items())).hex()


def flat_variables(checkpoint: Checkpoint) -> dict[tuple[str, ...], np.ndarray]:
    """The model's variables by path, in single precision."""
    leaves = {key: key for key, leaf in checkpoint.leaves.items() if leaf.kind == "array"}
    keys = network_of(checkpoint).variables(leaves, checkpoint.layers)
    arrays = checkpoint.read(keys.values())
    return {path: arrays[key].astype(np.float32) for path, key in keys.items()}
