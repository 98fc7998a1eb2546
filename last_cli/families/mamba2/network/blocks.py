"""The language model block by block: which tensors are linear maps, and what the first block reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.families.mamba2.network.spec import Block, LanguageSpec
from last_cli.families.network import Linear, Part

FIRST, LAST = ("gate_proj", "up_proj", "input_linear", "fc1"), ("down_proj", "output_linear", "fc2")
"""Linear maps of feed-forward parts: those that read the stream, and those that write to it."""


def parts(spec: LanguageSpec) -> list[Part]:
    """See Blockwise. Blocks of equal sizes have equal specs, whatever their prefixes are.

    The code of mamba_ssm gives the residual stream on beside the branch, and WANDA for it takes the branch alone.
    """
    whole = spec.settings.name != "mamba_ssm"
    return [
        Part(block.prefix, replace(spec, blocks=(replace(block, prefix=""),)), _linears(block), whole)
        for block in spec.blocks
    ]


def enter(
    spec: LanguageSpec, read: Callable[[str], np.ndarray], tokens: Int[np.ndarray, "n T"]
) -> Float[np.ndarray, "n T d"]:
    """See Blockwise: the embeddings of the tokens."""
    return read(f"{spec.embedding}.weight")[tokens].astype(np.float32) * np.float32(spec.factors["embedding"])


def _linears(block: Block) -> tuple[Linear, ...]:
    mixer = [Linear(f"{block.mixer}.{name}.weight", name, name) for name in ("in_proj", "out_proj")]
    feed = [Linear(f"{block.feed_forward}.{name}.weight", "mlp", "mlp") for name in FIRST]
    feed += [Linear(f"{block.feed_forward}.{name}.weight", "mlp", "mlp inner") for name in LAST]
    return (*(mixer if block.mixer else ()), *(feed if block.feed_forward else ()))
