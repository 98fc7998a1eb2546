"""What each state of a Mamba-2 mixer can give to its output: an H-infinity norm, from the weights alone or on text.

With B, C and the step held at their means a state is a linear system of one pole for every head that shares it. Its
gain at frequency 0, where a real positive pole has its largest, is kappa = delta / (1 - exp(-a delta)) times the sizes
of B and C. Their mean squares follow from the weights, because the norm in front makes its output of mean square 1:
they are taken over inputs that are normal and independent from step to step, through the convolution and SiLU. On text
they, and the step, are measured.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.errors import UsageError
from last_cli.families.front import Front, normal, silu
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.targets import CONV, IN, NORM, OUT, units

Arrays = Mapping[str, np.ndarray]


def state_energies(sizes: Mixer, arrays: Arrays, front: Front) -> Float[np.ndarray, "G N"]:
    """The squared H-infinity norms of all states: E[B^2] E[C^2] sum over heads of kappa^2 |W_out gamma|^2.

    Args:
        sizes: of the mixer.
        arrays: its tensors by their names below its prefix, in any precision.
        front: the norm in front of it.
    """
    b, c, gain = _of_weights(sizes, arrays, front)
    return b * np.einsum("gh,ghn->gn", gain, c)


def measured_energies(sizes: Mixer, arrays: Arrays, means: Arrays) -> Float[np.ndarray, "G N"]:
    """The same from the mean squares of B (G, N) and C (G, C's of a group, N), and the mean step (H,), of a text."""
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    b, c, gain = _parts(sizes, arrays, means["B"], means["C"], means["step"])
    return b * np.einsum("gh,ghn->gn", gain, c)


def head_energies(sizes: Mixer, arrays: Arrays, front: Front) -> Float[np.ndarray, "G H"]:
    """The sum of state_energies by heads: kappa^2 |W_out gamma|^2 times the sum over states of E[B^2] E[C^2]."""
    b, c, gain = _of_weights(sizes, arrays, front)
    return (gain * np.einsum("gn,ghn->gh", b, c)).reshape(units(sizes, "heads"))


_Parts = tuple[Float[np.ndarray, "G N"], Float[np.ndarray, "G H N"], Float[np.ndarray, "G H"]]
"""E[B^2], E[C^2], and kappa^2 |W_out gamma|^2, for H heads in each of G groups."""


def _of_weights(sizes: Mixer, arrays: Arrays, front: Front) -> _Parts:
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    b, c = (mean_squares(sizes, arrays, front, part) for part in "BC")
    return _parts(sizes, arrays, b, c, usual_step(sizes, arrays))


def _parts(sizes: Mixer, arrays: Arrays, b: np.ndarray, c: np.ndarray, step: np.ndarray) -> _Parts:
    heads = sizes.heads // sizes.groups
    gain = (gains(sizes, arrays, step) ** 2 * readouts(sizes, arrays)).reshape(sizes.groups, heads)
    c = np.broadcast_to(c.reshape(sizes.groups, -1, sizes.states), (sizes.groups, heads, sizes.states))
    return b.reshape(sizes.groups, sizes.states), c, gain


def magnitudes(sizes: Mixer, arrays: Arrays) -> Float[np.ndarray, "G N"]:
    """|B|^2 + |C|^2 of every state: its rows of in_proj, paired."""
    weight = arrays[IN].astype(np.float64)
    b, c = (np.square(weight[slice(*sizes.rows[part])]).sum(axis=1) for part in ("B", "C"))
    return b.reshape(sizes.groups, sizes.states) + c.reshape(sizes.groups, -1, sizes.states).sum(axis=1)


def part_magnitudes(part: str, sizes: Mixer, arrays: Arrays) -> Float[np.ndarray, "G N"]:
    """|B|^2 or |C|^2 of every state, as the paper's code ranks them apart; raises UsageError where it fails."""
    if sizes.groups > 1:
        raise UsageError(
            f"the paper's code ranks the states of all {sizes.groups} groups for each of them, and removes other rows",
            "⟦criterion magnitude⟧ ranks B and C of each group together",
        )
    return np.square(arrays[IN][slice(*sizes.rows[part])].astype(np.float64)).sum(axis=1)[None]


def head_magnitudes(sizes: Mixer, arrays: Arrays) -> Float[np.ndarray, "G H"]:
    """The squared size of every head's own rows of z and x in in_proj and of its columns of out_proj."""
    return by_unit(sizes, "heads", _channel_magnitudes(sizes, arrays)[0])


def channel_magnitudes(sizes: Mixer, arrays: Arrays) -> Float[np.ndarray, "G P"]:
    """The same of every channel; where heads share x, with the rows that they share."""
    return by_unit(sizes, "channels", *_channel_magnitudes(sizes, arrays))


def by_unit(
    sizes: Mixer, target: str, own: Float[np.ndarray, "..."], shared: Float[np.ndarray, "G P"] | None = None
) -> Float[np.ndarray, "G N"]:
    """What every head (H,) or every channel of it (H, P) has, summed by heads, or by the channels that go together.

    Args:
        sizes: of the mixer.
        target: "heads" or "channels".
        own: of each head.
        shared: what the channels have besides where heads share x.
    """
    groups, count = units(sizes, target)
    if target == "heads":
        return own.reshape(groups, count, -1).sum(axis=2)
    found = own.reshape(groups, -1, count).sum(axis=1)
    return found if shared is None else found + shared


def _channel_magnitudes(
    sizes: Mixer, arrays: Arrays
) -> tuple[Float[np.ndarray, "H P"], Float[np.ndarray, "G P"] | None]:
    """Of every channel of every head, and of those of x where heads share it."""
    weight = arrays[IN].astype(np.float64)
    z, x = (np.square(weight[slice(*sizes.rows[part])]).sum(axis=1).reshape(-1, sizes.head_dim) for part in "zx")
    own = z + np.square(arrays[OUT][:, sizes.beside :].astype(np.float64)).sum(axis=0).reshape(z.shape)
    return (own, x) if sizes.settings.rows == "shared" else (own + x, None)


def mean_squares(sizes: Mixer, arrays: Arrays, front: Front, part: str) -> Float[np.ndarray, " rows"]:
    """The mean square of each row of a part behind the convolution and its activation."""
    start, end = sizes.rows[part]
    settings = sizes.settings
    factor = settings.factor_in * settings.factors.get(part, 1.0)
    rows = arrays[IN][start:end] * front.weight * factor
    shift = arrays[IN][start:end] @ front.bias * factor
    if "in_proj.bias" in arrays:
        shift += arrays["in_proj.bias"][start:end] * settings.factors.get(part, 1.0)
    channels = slice(*sizes.conv_rows[part])
    taps = arrays[CONV][channels, 0]
    mean = shift * taps.sum(axis=1) + (arrays["conv1d.bias"][channels] if "conv1d.bias" in arrays else 0.0)
    deviation = np.sqrt(np.square(rows).sum(axis=1) * np.square(taps).sum(axis=1))
    if settings.activation == "identity":
        return mean**2 + deviation**2
    values, weights = normal(mean, deviation)
    return np.square(silu(values)) @ weights


def usual_step(sizes: Mixer, arrays: Arrays) -> Float[np.ndarray, " H"]:
    """The step of every head at its bias; without one, what a step forgets: -log of what it leaves."""
    start, end = sizes.rows["dt"]
    shift = arrays["in_proj.bias"][start:end] if "in_proj.bias" in arrays else np.zeros(sizes.heads)
    if sizes.settings.rows == "discrete":
        return np.logaddexp(0, shift)
    step = np.logaddexp(0, arrays["dt_bias"] + shift * sizes.settings.factors.get("dt", 1.0))
    return np.clip(step, *sizes.settings.limit)


def gains(sizes: Mixer, arrays: Arrays, step: Float[np.ndarray, " H"]) -> Float[np.ndarray, " H"]:
    """kappa of every head: the sum of its impulse response for one unit of x, the step held."""
    if sizes.settings.rows == "discrete":
        return 1 / -np.expm1(-step)
    return step / -np.expm1(-np.exp(arrays["A_log"]) * step)


def readouts(sizes: Mixer, arrays: Arrays) -> Float[np.ndarray, " H"]:
    """The squared size of each head's columns of out_proj, times the weight of the gate's norm where there is one."""
    columns = arrays[OUT][:, sizes.beside :] * arrays.get(NORM, 1.0)
    return np.square(columns).sum(axis=0).reshape(sizes.heads, -1).sum(axis=1)
