"""What each state of a Mamba-1 mixer can give to its output: an H-infinity norm, from the weights alone.

With B, C and the step held at their means a state is a linear system of one real pole for every channel d of its head.
Its gain is largest at frequency 0, kappa_d = step_d / (1 - exp(-a_d step_d)) times the sizes of B and C. The norm in
front makes its output of mean square 1: it is taken as normal, and independent from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Float
from last_cli.families.front import Front, normal, sigmoid, silu
from last_cli.families.mamba.mixer import Arrays, Heads, heads_of, mixer
from last_cli.families.mamba.table import B_NORM, C_NORM


def state_energies(arrays: Arrays, front: Front, eps: float | None) -> Float[np.ndarray, "H N"]:
    """The squared H-infinity norms of all states.

    E[B^2] E[C^2] sum over d of kappa_d^2 |W_out,d|^2 E[x_d^2] E[silu(z_d)^2].

    Args:
        arrays: the mixer's tensors by their names below its prefix, in any precision.
        front: the norm in front of it.
        eps: of the norms of B and C over the states; None where there are none.
    """
    own = heads_of(arrays)
    inputs = inputs_of(own, front)
    both = mean_squares(own, np.concatenate([own.B, own.C], axis=1), front, inputs)
    b, c = np.split(both, 2, axis=1)
    if eps is not None:
        weights = (arrays[n].astype(np.float64) if n in arrays else np.float64(1) for n in (B_NORM, C_NORM))
        b, c = (m / (m.mean(axis=1, keepdims=True) + eps) * w**2 for m, w in zip((b, c), weights, strict=True))
    step = np.logaddexp(0, own.step)[..., None]
    kappa = step / -np.expm1(-np.exp(own.A_log) * step)
    size = np.square(own.out).sum(axis=0) * (inputs.square * gate_squares(own, front)).reshape(own.step.shape)
    return b * c * np.einsum("hpn,hp->hn", kappa**2, size)


def magnitudes(arrays: Arrays) -> Float[np.ndarray, "H N"]:
    """|B|^2 + |C|^2 of every state: its rows of x_proj, paired."""
    sizes = mixer({name: array.shape for name, array in arrays.items()})
    x_proj = arrays["x_proj_weight" if sizes.apart else "x_proj.weight"].astype(np.float64)
    rows = np.square(x_proj).sum(axis=-1).reshape(sizes.heads, -1)[:, sizes.rank :]
    return rows[:, : sizes.states] + rows[:, sizes.states :]


@dataclass(frozen=True)
class Inputs:
    """x behind the convolution and SiLU, by channel.

    Attributes:
        mean, square: of it.
        slope: E[silu'], by which it follows what enters SiLU.
        rest: the variance that does not follow it, taken as independent between channels.
    """

    mean: Float[np.ndarray, " inner"]
    square: Float[np.ndarray, " inner"]
    slope: Float[np.ndarray, " inner"]
    rest: Float[np.ndarray, " inner"]


def inputs_of(own: Heads, front: Front) -> Inputs:
    """What enters the states and x_proj."""
    shift = (own.x @ front.bias + own.x_bias) * own.taps.sum(axis=1) + own.bias
    deviation = _deviations(own.x, front) * np.sqrt(np.square(own.taps).sum(axis=1))
    values, weights = normal(shift, deviation)
    activated = silu(values)
    mean, square = activated @ weights, np.square(activated) @ weights
    slope = (sigmoid(values) * (1 + values - activated)) @ weights
    return Inputs(mean, square, slope, np.maximum(square - mean**2 - (slope * deviation) ** 2, 0))


def mean_squares(own: Heads, rows: np.ndarray, front: Front, inputs: Inputs) -> Float[np.ndarray, "H rows"]:
    """The mean squares of B and C: rows of x_proj on x, whose channels go together as far as SiLU is linear (Stein)."""
    heads, _, channels = rows.shape
    mean, slope, rest = (v.reshape(heads, channels) for v in (inputs.mean, inputs.slope, inputs.rest))
    total = np.einsum("hnp,hp->hn", rows, mean) ** 2 + np.einsum("hnp,hp->hn", np.square(rows), rest)
    x, taps = own.x.reshape(heads, channels, -1), own.taps.reshape(heads, channels, -1)
    for head in range(heads):
        follow = rows[head, :, None] * (slope[head, :, None] * taps[head]).T  # (rows, taps, channels)
        products = follow.reshape(-1, channels) @ x[head] * front.weight
        total[head] += np.square(products).sum(axis=1).reshape(len(follow), -1).sum(axis=1)
    return total


def gate_squares(own: Heads, front: Front) -> Float[np.ndarray, " inner"]:
    """The mean square of silu(z)."""
    values, weights = normal(own.z @ front.bias + own.z_bias, _deviations(own.z, front))
    return np.square(silu(values)) @ weights


def _deviations(rows: Float[np.ndarray, "inner d"], front: Front) -> Float[np.ndarray, " inner"]:
    return np.sqrt(np.einsum("id,id,d->i", rows, rows, np.square(front.weight)))
