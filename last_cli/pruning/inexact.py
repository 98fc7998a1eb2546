"""How much a compacted language model differs from the masked one, where what loads it cannot hold all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of, read_variables, systems_of
from last_cli.pruning.compact import compact

TOKENS, LARGEST = 64, 2**28
"""How many random tokens are predicted, and parameters of the largest model that is run for it."""


def difference(
    checkpoint: Checkpoint, small: Checkpoint, masks: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> str:
    """What was measured, or why nothing was.

    Args:
        checkpoint: as it was.
        small: compacted.
        masks: of the units that stay, by layer.
        settings: see compact.compact.
    """
    if checkpoint.parameters > LARGEST:
        return "how much was not measured, since the model is large"
    try:
        masked = compact(checkpoint, masks, settings, masked=True)
        before, after = _surprise(masked), _surprise(small)
    except CheckpointError:
        return "how much was not measured, since no network of ours runs the model"
    apart = np.abs(after - before)
    sizes = f"{apart.mean():.2g} on average, {apart.max():.2g} at most"
    return f"measured on {TOKENS} random tokens: log p of one differs by {sizes}"


def _surprise(checkpoint: Checkpoint) -> np.ndarray:
    import jax

    network, spec = network_of(checkpoint), model_spec(checkpoint)
    params = network.fold(spec, read_variables(checkpoint), systems_of(checkpoint), TOKENS + 1, "float32")
    x = np.random.default_rng(0).integers(0, spec.d_input, (1, TOKENS + 1)).astype(np.int32)
    run = jax.jit(lambda params, x, lengths: network.forward(spec, params, x, lengths, jax.default_backend()))
    with jax.default_matmul_precision("highest"):
        return np.asarray(run(params, x, np.array([TOKENS + 1], np.int32)))
