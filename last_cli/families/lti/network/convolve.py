"""SISO channels convolved with their kernels: by FFT, or, where few states are left, in chunks that pass the states on.

Within a chunk of T steps the outputs are a product with the kernel's Toeplitz matrix; the states at a chunk's end are
one more product, and what they still answer in the next chunk another: T + 4 N multiplications a step for N states.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Array, Float
from last_cli.families.lti.network import scan
from last_cli.families.lti.system import System

CHUNK = 32  # steps
FFT_COSTS = 16  # states: with more in a channel its FFT is faster (measured on a CPU at a length of 1,024)
BUCKET = 8  # counts of states are rounded up to multiples of this, so that few shapes occur
CHANNELS_AT_A_TIME = 64  # whose spectra stay in a CPU's cache

Parts = tuple[dict[str, Any], ...]


def split(
    system: System, length: int, scale: Float[np.ndarray, " features"], bias: Float[np.ndarray, " features"]
) -> Parts:
    """The channels in groups of about equal counts of live states, each as `convolve` wants it, in double precision.

    Args:
        system: the layer.
        length: of the sequences.
        scale: of each channel; the layer reads scale * stream + bias.
        bias: of each channel.
    """
    counts = system.live_mask.sum(axis=1)
    widths = np.minimum(-(-np.maximum(counts, 1) // BUCKET) * BUCKET, system.lam.shape[1])
    if len(system.C) > 1 or length <= CHUNK:
        widths = np.zeros_like(widths)
    widths = np.where(widths > FFT_COSTS, 0, widths)
    groups = {int(width): np.flatnonzero(widths == width) for width in np.unique(widths)}
    return tuple(
        {"channels": channels, "D": system.D[channels], "scale": scale[channels], "bias": bias[channels]}
        | (_chunked(system, channels, width) if width else _transformed(system, channels, length))
        for width, channels in groups.items()
    )


def convolve(
    parts: Parts, stream: Float[Array, "features batch length"], on_cpu: bool
) -> Float[Array, "features batch length"]:
    """Outputs of all channels, feedthrough included."""
    if len(parts) == 1:
        return _outputs(parts[0], stream, on_cpu)
    out = jnp.concatenate([_outputs(part, stream[part["channels"]], on_cpu) for part in parts])
    return out[jnp.argsort(jnp.concatenate([part["channels"] for part in parts]))]


def _transformed(system: System, channels: np.ndarray, length: int) -> dict[str, Any]:
    own = replace(system, lam=system.lam[channels], B=system.B[channels], C=system.C[:, channels])
    return {"spectrum": scan.prepare(own, length)["spectrum"]}


def _chunked(system: System, channels: np.ndarray, width: int) -> dict[str, Any]:
    states = np.argsort(~system.live_mask[channels], axis=1, kind="stable")[:, :width]
    lam, B, C = (
        np.take_along_axis(array[channels], states, axis=1)
        for array in (system.lam, system.B[..., 0], system.C[0, :, 0])
    )
    powers = lam[..., None] ** np.arange(CHUNK + 1)
    answers = system.gain * (C * B)[..., None] * powers
    kernel = answers.real.sum(axis=1)[:, :CHUNK]
    lag = np.arange(CHUNK) - np.arange(CHUNK)[:, None]
    entering = np.swapaxes(powers[..., CHUNK - 1 :: -1], 1, 2)
    return {
        "within": np.where(lag >= 0, kernel[:, np.abs(lag)], 0),
        "enter": np.concatenate([entering.real, entering.imag], axis=2),
        "leave": np.concatenate([answers.real, -answers.imag], axis=1)[..., 1:],
        "carry": powers[..., CHUNK],
    }


def _outputs(part: dict[str, Any], stream: Any, on_cpu: bool) -> Any:
    def channel(of: tuple[dict[str, Any], Any]) -> Any:
        part, stream = of
        u = stream.astype(jnp.float32) * part["scale"] + part["bias"]
        return scan.filtered(part["spectrum"], u) + part["D"] * u

    if "carry" not in part:
        both = part, stream
        return jax.lax.map(channel, both, batch_size=CHANNELS_AT_A_TIME) if on_cpu else jax.vmap(channel)(both)
    D, scale, bias = (part[name][:, None, None] for name in ("D", "scale", "bias"))
    u = stream.astype(jnp.float32) * scale + bias
    y = _pass_states(part, jnp.pad(u, ((0, 0), (0, 0), (0, -u.shape[-1] % CHUNK))))
    return y[..., : u.shape[-1]] + D * u


def _pass_states(part: dict[str, Any], u: Any) -> Any:
    features, batch, length = u.shape
    chunks, states = length // CHUNK, part["carry"].shape[1]
    x = u.reshape(features, batch * chunks, CHUNK)
    entered = (x @ part["enter"]).reshape(features, batch, chunks, 2 * states)
    entered = jnp.moveaxis(jax.lax.complex(entered[..., :states], entered[..., states:]), 2, 0)

    def step(before: Any, entered: Any) -> tuple[Any, Any]:
        return part["carry"][:, None] * before + entered, before

    before = jnp.moveaxis(jax.lax.scan(step, jnp.zeros_like(entered[0]), entered)[1], 0, 2)
    before = jnp.concatenate([before.real, before.imag], axis=-1).reshape(features, batch * chunks, 2 * states)
    return (x @ part["within"] + before @ part["leave"]).reshape(u.shape)
