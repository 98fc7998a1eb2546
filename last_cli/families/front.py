"""What enters a mixer of a language model: the output of the norm in front of it, taken as normal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Float

NORMS = ("norm", "input_layernorm")
"""What the norm in front of a mixer is called."""

BESIDE = tuple(f"{name}.{leaf}" for name in NORMS for leaf in ("weight", "bias"))
"""Its leaves, which stand next to the mixer."""

_NODES = 48


@dataclass(frozen=True)
class Front:
    """The norm in front of a mixer: its weight, and its bias, which is zero where it has none."""

    weight: Float[np.ndarray, " d"]
    bias: Float[np.ndarray, " d"]


def front(leaves: Mapping[str, np.ndarray]) -> Front:
    """The norm in front of a mixer; without one that is stored, its weight is 1."""
    width = leaves["in_proj.weight"].shape[1]
    for name in NORMS:
        if f"../{name}.weight" in leaves:
            bias = leaves.get(f"../{name}.bias", np.zeros(width))
            return Front(leaves[f"../{name}.weight"].astype(np.float64), bias.astype(np.float64))
    return Front(np.ones(width), np.zeros(width))


def normal(
    mean: Float[np.ndarray, " n"], deviation: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n nodes"], Float[np.ndarray, " nodes"]]:
    """Gauss-Hermite nodes of normal numbers, and their weights: f(nodes) @ weights is the mean of f."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return np.asarray(mean)[..., None] + deviation[:, None] * nodes, weights / weights.sum()


def sigmoid(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """1 / (1 + exp(-values)), without overflow."""
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))


def silu(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """values times their sigmoid."""
    return values * sigmoid(values)
