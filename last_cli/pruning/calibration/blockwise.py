"""A language model in blocks, and the text that goes through them: which tensors, which tokens, how many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from last_cli.base.annotations import Float
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of
from last_cli.evaluation.inputs import Inputs, check_fit
from last_cli.families.network import Blockwise, Part
from last_cli.formats import Key


@dataclass(frozen=True, eq=False)
class Blocks:
    """A checkpoint's network in blocks.

    Attributes:
        parts: the blocks in order.
        own: of each block the keys of its tensors in the tree, by their names below its prefix.
        others: the keys of those that are in no block, by their names.
    """

    network: Blockwise
    spec: Any
    parts: Sequence[Part]
    own: Sequence[Mapping[str, Key]]
    others: Mapping[str, Key]


def in_blocks(checkpoint: Checkpoint, inputs: Inputs) -> Blocks:
    """The network of a checkpoint that is to run on such sequences; nothing is read.

    Raises:
        CheckpointError: the tree is no network that can run.
        DataError: the network does not take such sequences.
    """
    network, spec = network_of(checkpoint).blockwise, model_spec(checkpoint)
    assert network is not None
    check_fit(inputs, spec)
    others = {".".join(key): key for key, leaf in checkpoint.leaves.items() if leaf.kind == "array"}
    parts, own = network.parts(spec), []
    for part in parts:
        below = f"{part.prefix}."
        own.append({name.removeprefix(below): others.pop(name) for name in [*others] if name.startswith(below)})
    return Blocks(network, spec, parts, own, others)


def counted(inputs: Inputs) -> Float[np.ndarray, "n T"]:
    """1.0 for each token that counts, 0.0 for padding and for those that are only there for the others."""
    places = np.arange(inputs.length)
    found = np.ones(inputs.x.shape, bool)
    if inputs.lengths is not None:
        found &= places < inputs.lengths[:, None]
    if inputs.skips is not None:
        found &= places >= inputs.skips[:, None]
    return found.astype(np.float32)


def batches(shape: Sequence[int], tokens: int) -> list[slice]:
    """Of sequences (n, T, ...) as many in each as have so many tokens, at least one, but for the last."""
    sequences, steps = shape[:2]
    each = max(1, tokens // steps)
    return [slice(first, min(first + each, sequences)) for first in range(0, sequences, each)]
