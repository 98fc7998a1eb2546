"""The engine: a `System` prepared once for a sequence length, then run on batches of sequences.

`prepare` is written against the array API: in numpy float64 it is done once per checkpoint before evaluation, in JAX it
is part of the traced forward pass, so that gradients reach the parameters.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Array, Complex, Float
from last_cli.families.lti.system import System

Prepared = dict[str, Any]


def prepare(system: System, length: int) -> Prepared:
    """What `run` needs: matrices for a scan over time (MIMO), or a kernel's spectrum (one SISO system a channel)."""
    if system.B.shape[-1] == system.C.shape[-2] == 1:
        return {"spectrum": _spectrum(system, length), "D": system.D}
    return _matrices(system)


def single(prepared: Prepared) -> Prepared:
    """The same in single precision."""
    return {
        name: np.asarray(array, np.complex64 if np.iscomplexobj(array) else np.float32)
        for name, array in prepared.items()
    }


def run(prepared: Prepared, u: Float[Array, "batch length features"]) -> Float[Array, "batch length features"]:
    """Outputs of the system for input sequences u, feedthrough included."""
    prepared = {name: jnp.asarray(array) for name, array in prepared.items()}
    y = _convolve(prepared["spectrum"], u) if "spectrum" in prepared else _scan(prepared, u)
    return y + prepared["D"] * u


def kernel(system: System, length: int) -> Any:
    """Impulse responses gain * Re(sum over n of C_n B_n lam_n^t), real (R, G, length), of SISO systems.

    Powers come in two levels, t = i * m + j, so that one batched product replaces the Vandermonde matrix.
    """
    xp = system.lam.__array_namespace__()
    m = math.isqrt(max(length - 1, 0)) + 1
    fine = _powers(system.lam, m)
    coarse = _powers(fine[..., -1] * system.lam, -(-length // m))
    weights = system.C[:, :, 0, :] * system.B[:, :, 0]
    left = xp.matrix_transpose(weights[..., None] * coarse)
    # The real part alone, of half the arithmetic: Re(left) Re(fine) - Im(left) Im(fine).
    left = xp.concat([xp.real(left), -xp.imag(left)], axis=-1)
    blocks = system.gain * (left @ xp.concat([xp.real(fine), xp.imag(fine)], axis=-2))
    return xp.reshape(blocks, (*blocks.shape[:-2], -1))[..., :length]


def _powers(base: Any, count: int) -> Any:
    """base ** 0 .. base ** (count - 1) along a new last axis."""
    xp = base.__array_namespace__()
    steps = xp.broadcast_to(base[..., None], (*base.shape, count - 1))
    return xp.concat([xp.ones_like(base)[..., None], xp.cumulative_prod(steps, axis=-1)], axis=-1)


def _spectrum(system: System, length: int) -> Any:
    """Spectrum (G, n) of the kernels, as `filtered` wants it, with n the next length whose FFT is fast."""
    xp = system.lam.__array_namespace__()
    forward, *backward = kernel(system, length)
    count = fast_length(length)
    cos, sin = _turns(count)
    padding = xp.zeros((len(forward), count - length))
    later = xp.concat([forward, padding], axis=-1)
    earlier = xp.zeros_like(later)
    if backward:
        # What the backward readout has at no lag is of the same step; from the next on it stands at 1 - count, ..., -1.
        lag = system.backward_lag
        later = later + (1 - lag) * backward[0][:, :1] * (xp.arange(count) == 0)
        behind = xp.flip(backward[0][:, 1 - lag : length - lag], axis=-1)
        earlier = xp.concat([xp.zeros_like(forward)[:, :1], padding, behind], axis=-1)
    # z^-count = -i there.
    return xp.fft.fft((later - 1j * earlier) * (cos + 1j * sin), axis=-1)


def filtered(spectrum: Complex[Array, "... n"], u: Float[Array, "... length"]) -> Float[Array, "... length"]:
    """u convolved with kernels of the same length along the last axis, at the same steps.

    Polynomials are multiplied modulo z^n - i, where what reaches beyond the length comes back times i: it is imaginary,
    and drops out (right-angle convolution: Crandall & Fagin, Mathematics of Computation 62, 1994). So the complex FFT
    of n takes the place of a real one of 2 n.
    """
    length, n = u.shape[-1], spectrum.shape[-1]
    cos, sin = (jnp.asarray(turn, u.dtype) for turn in _turns(n))
    u = jnp.pad(u, [(0, 0)] * (u.ndim - 1) + [(0, n - length)])
    y = jnp.fft.ifft(jnp.fft.fft(jax.lax.complex(u * cos, u * sin)) * spectrum)
    return (y.real * cos + y.imag * sin)[..., :length]


def fast_length(length: int) -> int:
    """The smallest 2^a 3^b 5^c that is no less."""
    best = 1 << (length - 1).bit_length()
    for five in range(best.bit_length()):
        for three in range(best.bit_length()):
            odd = 5**five * 3**three
            best = min(best, odd << max(0, -(-length // odd) - 1).bit_length())
    return best


def _turns(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of a quarter turn in so many steps."""
    angles = np.arange(count) * (np.pi / (2 * count))
    return np.cos(angles), np.sin(angles)


def _convolve(
    spectrum: Complex[Array, "features n"], u: Float[Array, "batch length features"]
) -> Float[Array, "batch length features"]:
    return jnp.swapaxes(filtered(spectrum, jnp.swapaxes(u, 1, 2)), 1, 2)


def _matrices(system: System) -> Prepared:
    """One real matrix for B and one for all readouts' C, real and imaginary parts stacked."""
    xp = system.lam.__array_namespace__()
    B, C = system.B[0], system.gain * system.C[:, 0]
    return {
        "lam": system.lam[0],
        "B": xp.matrix_transpose(xp.concat([xp.real(B), xp.imag(B)])),
        "C": xp.matrix_transpose(xp.concat([part for c in C for part in (xp.real(c), -xp.imag(c))], axis=-1)),
        "D": system.D,
    }


def _scan(prepared: Prepared, u: Float[Array, "batch length features"]) -> Float[Array, "batch length outputs"]:
    lam, B, C = prepared["lam"], prepared["B"], prepared["C"]
    states = lam.shape[0]
    driven = u @ B
    driven = jax.lax.complex(driven[..., :states], driven[..., states:])
    readouts = C.shape[0] // (2 * states)
    on_cpu = jax.default_backend() == "cpu"
    xs = [recur(lam, driven, axis=1, reverse=bool(r), on_cpu=on_cpu) for r in range(readouts)]
    return jnp.concatenate([part for x in xs for part in (x.real, x.imag)], axis=-1) @ C


def recur(
    lam: Complex[Array, " n"],
    driven: Complex[Array, "i j n"],
    *,
    axis: int,
    reverse: bool,
    on_cpu: bool,
    start: Complex[Array, "m n"] | None = None,
) -> Complex[Array, "i j n"]:
    """x[t] = lam x[t-1] + driven[t] along the axis of time, from the states `start`; backwards where `reverse`.

    A loop over time suits a CPU's cache; a GPU wants the logarithmic depth.
    """
    start = jnp.zeros_like(jnp.take(driven, 0, axis)) if start is None else start
    if on_cpu:
        return _recur_in_order(lam, driven, start, axis, reverse)
    driven = jnp.moveaxis(driven, axis, 0)
    driven = driven.at[-1 if reverse else 0].add(lam * start)
    elements = (jnp.broadcast_to(lam, driven.shape), driven)
    return jnp.moveaxis(jax.lax.associative_scan(_combine, elements, reverse=reverse)[1], 0, axis)


# Compiled once for each shape, also where nothing around it is.
@partial(jax.jit, static_argnums=(3, 4), inline=True)
def _recur_in_order(
    lam: Complex[Array, " n"], driven: Complex[Array, "i j n"], start: Complex[Array, "m n"], axis: int, reverse: bool
) -> Complex[Array, "i j n"]:
    def step(x: Any, b: Any) -> tuple[Any, Any]:
        x = lam * x + b
        return x, x

    driven = jnp.moveaxis(driven, axis, 0)
    return jnp.moveaxis(jax.lax.scan(step, start, driven, reverse=reverse)[1], 0, axis)


def _combine(first: Any, second: Any) -> tuple[Any, Any]:
    return second[0] * first[0], second[0] * first[1] + second[1]
