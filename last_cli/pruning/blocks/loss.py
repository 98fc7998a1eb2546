"""The loss of a language model on text without one of its blocks, for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.families.network import Blockwise, Part
from last_cli.formats import Key
from last_cli.pruning.calibration.blockwise import batches, counted, in_blocks

TOKENS = 2048
"""That run at once, at least one sequence: what stands in front of every block is held for so many."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model that is there as a whole, in single precision.

    Attributes:
        tensors: of each block, by their names below its prefix.
        rest: those that are in no block.
        counts: 1.0 for each prediction that counts, 0.0 for the others, (n, T - 1).
    """

    network: Blockwise
    spec: Any
    parts: Sequence[Part]
    tensors: Sequence[Mapping[str, Any]]
    rest: Mapping[str, Any]
    tokens: np.ndarray
    counts: np.ndarray


def model(checkpoint: Checkpoint, inputs: Inputs) -> Model:
    """A checkpoint's model and calibration sequences.

    Raises:
        CheckpointError: the tree is no network that can run.
        DataError: the network does not take such sequences.
    """
    blocks = in_blocks(checkpoint, inputs)
    tensors = [_read(checkpoint, own) for own in blocks.own]
    counts = counted(inputs)  # A prediction counts where both its token and the one before it do.
    rest = _read(checkpoint, blocks.others)
    return Model(blocks.network, blocks.spec, blocks.parts, tensors, rest, inputs.x, counts[:, 1:] * counts[:, :-1])


def losses(model: Model, kept: Sequence[int]) -> tuple[float, Float[np.ndarray, " kept"]]:
    """The mean loss in nats of the model of the kept blocks, and of the same without each of them in turn.

    Raises:
        CheckpointError: one is no number.
    """
    run, leave = _runs(model.network, model.spec)
    total, without = 0.0, np.zeros(len(kept))
    with jax.default_matmul_precision("highest"):
        for rows in batches(model.tokens.shape, TOKENS):
            tokens, counts = model.tokens[rows], model.counts[rows]
            streams = [model.network.enter(model.spec, lambda name: np.asarray(model.rest[name]), tokens)]
            for i in kept:
                streams.append(run(model.parts[i].spec, model.tensors[i], streams[-1]))
            total += float(np.sum(leave(model.rest, streams[-1], tokens) * counts, dtype=np.float64))
            for place in range(len(kept)):
                x = streams[place]
                for i in kept[place + 1 :]:
                    x = run(model.parts[i].spec, model.tensors[i], x)
                without[place] += float(np.sum(leave(model.rest, x, tokens) * counts, dtype=np.float64))
    predictions = float(model.counts.sum(dtype=np.float64))
    if not (predictions and np.isfinite(total) and np.isfinite(without).all()):
        raise CheckpointError(
            "the loss on the calibration sequences is no number" if predictions else "no token is predicted there",
            "are all weights finite, and are these sequences of the model's tokens?",
        )
    return total / predictions, without / predictions


def _read(checkpoint: Checkpoint, keys: Mapping[str, Key]) -> dict[str, Any]:
    arrays = checkpoint.read(keys.values())
    return {name: jnp.asarray(arrays[key].astype(np.float32)) for name, key in keys.items()}


@lru_cache(maxsize=4)
def _runs(network: Blockwise, spec: Any) -> tuple[Any, Any]:
    """Blocks alike share a program, and so do calls for the logits."""
    block = jax.jit(lambda part, tensors, x: network.run(part, tensors, x)[0], static_argnums=0)
    leave = jax.jit(lambda tensors, x, tokens: network.leave(spec, tensors, x, tokens))
    return block, lambda *given: np.asarray(leave(*given), np.float64)
