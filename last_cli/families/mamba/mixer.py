"""The sizes of a Mamba-1 mixer, and its tensors as heads have them.

A mixer of Mamba-1 is one head: in_proj has the rows of x, then those of z; x_proj those of the step, B and C. Zamba has
several, each with an x_proj and states of its own, and the rows of in_proj lie x0 z0 x1 z1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.errors import CheckpointError
from last_cli.families.family import agree, expect_ndim
from last_cli.families.front import BESIDE
from last_cli.families.mamba.table import B_NORM, C_NORM
from last_cli.families.target import Shapes

Arrays = Mapping[str, np.ndarray]

ONE_HEAD = {
    "A_log": "(channels, states)",
    "D": "(channels,)",
    "in_proj.weight": "(2 x channels, width)",
    "conv1d.weight": "(channels, 1, taps)",
    "x_proj.weight": "(rank + 2 x states, channels)",
    "dt_proj.weight": "(channels, rank)",
    "dt_proj.bias": "(channels,)",
    "out_proj.weight": "(width, channels)",
}
SEVERAL_HEADS = {
    "A_log": "(heads, channels, states)",
    "D": "(heads, channels)",
    "in_proj.weight": "(2 x heads x channels, width)",
    "conv1d.weight": "(heads x channels, 1, taps)",
    "x_proj_weight": "(heads, rank + 2 x states, channels)",
    "dt_proj_weight": "(heads, channels, rank)",
    "dt_proj_bias": "(heads, channels)",
    "out_proj.weight": "(width, heads x channels)",
}
"""The axes of every tensor that a mixer must have."""


@dataclass(frozen=True)
class Mixer:
    """The sizes of a mixer.

    Attributes:
        heads, channels: H heads of P channels.
        states: of every channel of a head.
        rank: rows of x_proj that the step comes from; those of B and C stand behind them.
        apart: heads have an x_proj of their own, and x and z take turns in the rows of in_proj.
    """

    heads: int
    channels: int
    states: int
    rank: int
    apart: bool

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.channels


def mixer(shapes: Shapes) -> Mixer:
    """The sizes of a mixer from the shapes of its tensors, by their names below the mixer's prefix.

    Raises:
        CheckpointError: one is lacking, or the shapes disagree.
    """
    apart = "x_proj_weight" in shapes
    axes = SEVERAL_HEADS if apart else ONE_HEAD
    for name, form in axes.items():
        if name not in shapes:
            raise CheckpointError(f"has no {name}, expected one {form}")
        expect_ndim(shapes, name, form, (form.count(",") + 1 - form.count(",)"),))
    if empty := next((name for name in axes if 0 in shapes[name]), None):
        raise CheckpointError(f"{empty} has shape {shapes[empty]}, expected {axes[empty]} of 1 or more each")
    heads = agree("heads", {n: shapes[n][0] for n, form in axes.items() if form.startswith("(heads,")}) if apart else 1
    x_proj, dt_proj = ("x_proj_weight", "dt_proj_weight") if apart else ("x_proj.weight", "dt_proj.weight")
    inner = {"out_proj.weight": shapes["out_proj.weight"][-1], "conv1d.weight": shapes["conv1d.weight"][0]}
    inner |= {x_proj: heads * shapes[x_proj][-1], dt_proj: heads * shapes[dt_proj][-2], "D": heads * shapes["D"][-1]}
    channels = agree("channels", inner | {"A_log": heads * shapes["A_log"][-2]}) // heads
    states, rank = shapes["A_log"][-1], shapes[dt_proj][-1]
    agree("rows", {"in_proj.weight": shapes["in_proj.weight"][0], "x and z": 2 * heads * channels})
    agree("rows", {x_proj: shapes[x_proj][-2], "the step with B and C": rank + 2 * states})
    vectors = {"in_proj.bias": 2 * heads * channels, "conv1d.bias": heads * channels, B_NORM: states, C_NORM: states}
    vectors |= {f"../{name}": shapes["in_proj.weight"][1] for name in BESIDE}
    for name in (name for name in vectors if name in shapes):
        expect_ndim(shapes, name, f"({vectors[name]},)", (1,))
        agree("entries", {name: shapes[name][0], "the mixer": vectors[name]})
    return Mixer(heads, channels, states, rank, apart)


@dataclass(frozen=True)
class Heads:
    """The numbers of a mixer in double precision, as H heads of P channels have them.

    Attributes:
        x, z: rows of in_proj, (H P, width), and what is added to each.
        taps, bias: of the convolution.
        B, C: rows of x_proj.
        A_log, step: step is what the step's own is before softplus, where nothing comes in.
        out: columns of out_proj.
    """

    x: Float[np.ndarray, "inner d"]
    z: Float[np.ndarray, "inner d"]
    x_bias: Float[np.ndarray, " inner"]
    z_bias: Float[np.ndarray, " inner"]
    taps: Float[np.ndarray, "inner K"]
    bias: Float[np.ndarray, " inner"]
    B: Float[np.ndarray, "H N P"]
    C: Float[np.ndarray, "H N P"]
    A_log: Float[np.ndarray, "H P N"]
    step: Float[np.ndarray, "H P"]
    out: Float[np.ndarray, "width H P"]


def heads_of(arrays: Arrays) -> Heads:
    """A mixer's tensors by head; raises what `mixer` does."""
    sizes = mixer({name: array.shape for name, array in arrays.items()})
    heads, channels, inner = sizes.heads, sizes.channels, sizes.inner

    def double(name: str) -> np.ndarray:
        return arrays[name].astype(np.float64)

    def halves(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (rows[0::2], rows[1::2]) if sizes.apart else (rows[:inner], rows[inner:])

    x, z = halves(arrays["in_proj.weight"])
    x_bias, z_bias = halves(double("in_proj.bias") if "in_proj.bias" in arrays else np.zeros(2 * inner))
    x_proj = double("x_proj_weight" if sizes.apart else "x_proj.weight").reshape(heads, -1, channels)
    at, end = sizes.rank, sizes.rank + sizes.states
    return Heads(
        x.astype(np.float64),
        z.astype(np.float64),
        x_bias,
        z_bias,
        double("conv1d.weight")[:, 0],
        double("conv1d.bias") if "conv1d.bias" in arrays else np.zeros(inner),
        x_proj[:, at:end],
        x_proj[:, end:],
        double("A_log").reshape(heads, channels, -1),
        double("dt_proj_bias" if sizes.apart else "dt_proj.bias").reshape(heads, channels),
        double("out_proj.weight").reshape(-1, heads, channels),
    )
