"""Calibration sequences on their way through a model, block by block: what each linear map reads of them.

One block's tensors are there at a time, and of the sequences what the next block reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.families.network import Blockwise, Part
from last_cli.formats import Key
from last_cli.pruning.calibration.blockwise import batches, counted, in_blocks

TOKENS = 512
"""That run at once, at least one sequence."""


@dataclass(eq=False)
class Block:
    """A block, and what the sequences are in front of it.

    Attributes:
        keys: of its tensors in the tree, by their names below its prefix.
        tensors: in single precision.
        x: what it reads, (n, T, d).
        counts: 1.0 for each token that counts, 0.0 for the others, (n, T).
    """

    network: Blockwise
    part: Part
    keys: Mapping[str, Key]
    tensors: dict[str, np.ndarray]
    x: np.ndarray
    counts: np.ndarray

    def squares(self, place: str) -> Float[np.ndarray, " columns"]:
        """Of what the linear maps at a place read, the squares of each number summed over the tokens, in float64."""
        return self._summed(place, lambda read: np.square(read, dtype=np.float64).sum(axis=0))

    def gram(self, place: str) -> Float[np.ndarray, "columns columns"]:
        """The products of each two of these numbers, summed alike: of each batch in float32."""
        return self._summed(place, lambda read: (read.T @ read).astype(np.float64))

    def _summed(self, place: str, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        # What the first ones read takes no more than a norm; for what others read, the whole block runs.
        first = place == self.part.linears[0].place
        run = _first(self.network, self.part.spec, place) if first else _whole(self.network, self.part.spec)
        tensors = self.tensors if first else jax.device_put(self.tensors)  # once for all batches
        total = np.zeros(())
        for rows in batches(self.x.shape, TOKENS):
            found = run(tensors, self.x[rows])
            read = np.asarray(found if first else found[1][place])
            total = total + of((read * self.counts[rows][..., None]).reshape(-1, read.shape[-1]))
        if not np.isfinite(total).all():
            raise CheckpointError(
                f"{self.part.prefix}: what its {place} reads of the calibration sequences is not finite",
                "are the weights before it finite, and are these sequences of the model's tokens?",
            )
        return total

    def forward(self, *, stream: bool = True) -> None:
        """Let the sequences through, in place; without the residual stream where it is asked for so."""
        run, tensors = _whole(self.network, self.part.spec), jax.device_put(self.tensors)
        for rows in batches(self.x.shape, TOKENS):
            y, seen = run(tensors, self.x[rows])
            self.x[rows] = y if stream else np.asarray(y) - np.asarray(seen["residual"])


def blocks(checkpoint: Checkpoint, inputs: Inputs) -> Iterator[Block]:
    """The blocks of a checkpoint's network in order; the caller lets the sequences through each before the next.

    Raises:
        CheckpointError: the tree is no network that can run.
        DataError: the network does not take such sequences.
    """
    found = in_blocks(checkpoint, inputs)
    x = found.network.enter(
        found.spec, lambda name: checkpoint.read([found.others[name]])[found.others[name]], inputs.x
    )
    counts = counted(inputs)
    for part, own in zip(found.parts, found.own, strict=True):
        arrays = checkpoint.read(own.values())
        tensors = {name: arrays.pop(key).astype(np.float32) for name, key in own.items()}
        yield Block(found.network, part, own, tensors, x, counts)
        tensors.clear()  # before the next block's are read


@lru_cache(maxsize=32)
def _first(network: Blockwise, spec: Any, place: str) -> Callable[..., Any]:
    return _precise(jax.jit(lambda tensors, x: network.run(spec, tensors, x)[1][place]))


@lru_cache(maxsize=32)
def _whole(network: Blockwise, spec: Any) -> Callable[..., Any]:
    return _precise(jax.jit(lambda tensors, x: network.run(spec, tensors, x)))


def _precise(run: Callable[..., Any]) -> Callable[..., Any]:
    """The same in full single precision, wherever it runs."""

    def precise(*given: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return run(*given)

    return precise
