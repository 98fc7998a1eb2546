"""The language model block by block: which tensors are linear maps, and what the first block reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.families.mamba2 import depth
from last_cli.families.mamba2.network.spec import Block, LanguageSpec
from last_cli.families.network import Linear, Part
from last_cli.formats.format import Settings

FIRST, LAST = ("gate_proj", "up_proj", "input_linear", "fc1"), ("down_proj", "output_linear", "fc2")
"""Linear maps of feed-forward parts: those that read the stream, and those that write to it."""


def parts(spec: LanguageSpec) -> list[Part]:
    """See Blockwise. Blocks of equal sizes have equal specs, whatever their prefixes are.

    The code of mamba_ssm gives the residual stream on beside the branch, and WANDA for it takes the branch alone.
    """
    whole = spec.settings.name != "mamba_ssm"
    found = []
    for block in spec.blocks:
        alone = replace(spec, blocks=(replace(block, prefix=""),))
        kind = " and ".join(["a mixer"] * bool(block.mixer) + ["attention"] * bool(block.attention))
        found.append(Part(block.prefix, alone, _linears(block), kind, _writers(block), whole))
    return found


def enter(
    spec: LanguageSpec, read: Callable[[str], np.ndarray], tokens: Int[np.ndarray, "n T"]
) -> Float[np.ndarray, "n T d"]:
    """See Blockwise: the embeddings of the tokens."""
    return read(f"{spec.embedding}.weight")[tokens].astype(np.float32) * np.float32(spec.factors["embedding"])


def _writers(block: Block) -> tuple[str, ...]:
    """What writes to the stream."""
    found = [f"{block.mixer}.out_proj"] if block.mixer else []
    found += [f"{block.attention}.o_proj"] if block.attention else []
    found += [f"{block.feed_forward}.{name}" for name in LAST] if block.feed_forward else []
    return tuple(f"{name}.{leaf}" for name in found for leaf in ("weight", "bias"))


def shortened(spec: LanguageSpec, files: Mapping[str, Any], kept: Sequence[int]) -> Settings:
    """See Blockwise."""
    return depth.shortened(files, [block.mixer is not None for block in spec.blocks], kept)


def _linears(block: Block) -> tuple[Linear, ...]:
    mixer = [Linear(f"{block.mixer}.{name}.weight", name, name) for name in ("in_proj", "out_proj")]
    feed = [Linear(f"{block.feed_forward}.{name}.weight", "mlp", "mlp") for name in FIRST]
    feed += [Linear(f"{block.feed_forward}.{name}.weight", "mlp", "mlp inner") for name in LAST]
    return (*(mixer if block.mixer else ()), *(feed if block.feed_forward else ()))
