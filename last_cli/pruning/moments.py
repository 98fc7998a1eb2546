"""A System's states as real coordinates f, the readout y = W f, and the second moments S = E[f f^T] of f.

A state of R readouts has 2R coordinates, kept together: (Re x, Im x) of the forward states, then of the backward ones.
A layer has d = 2 R N coordinates in each of its G systems, state by state.
"""

from __future__ import annotations

import numpy as np

from last_cli.base.annotations import Complex, Float
from last_cli.families.lti.system import System

WHITE_LENGTHS = 8
METRIC_RIDGE = 1e-2


def readout_matrix(system: System) -> Float[np.ndarray, "G K d"]:
    """W with y = W f: gain * (Re C, -Im C)."""
    C = np.transpose(np.asarray(system.C, np.complex128), (1, 2, 3, 0))
    W = system.gain * np.stack([C.real, -C.imag], axis=-1)
    return W.reshape(*W.shape[:2], -1).astype(np.float64)


def readouts(W: Float[np.ndarray, "G K d"], system: System) -> Complex[np.ndarray, "R G K N"]:
    """C of a readout matrix, the inverse of `readout_matrix`."""
    R, G, K, N = system.C.shape
    parts = (W / system.gain).reshape(G, K, N, R, 2)
    return np.transpose(parts[..., 0] - 1j * parts[..., 1], (3, 0, 1, 2))


def white_moments(system: System, horizon: int | float) -> Float[np.ndarray, "G d d"]:
    """S for white inputs of variance 1, at a step with `horizon` inputs on either side of it; `np.inf` is allowed.

    E[x x^H]_ij = (b_i . b_j*) (1 + z + .. + z^(horizon-1)) with z = lam_i lam_j*, and E[x x^T] likewise without the
    conjugates. A forward and a backward state share only the input of the step itself, and not even that where the
    backward readout starts one step later. Padding is zero.
    """
    lam, B = np.asarray(system.lam, np.complex128), np.where(system.live_mask[..., None], system.B, 0)
    shared = 0 if system.backward_lag else 1
    blocks = {}
    for conjugate in (True, False):
        b, factor = (B.conj(), lam.conj()) if conjugate else (B, lam)
        inputs = B @ np.swapaxes(b, 1, 2)
        same = inputs * _geometric(lam[:, :, None], factor[:, None, :], horizon)
        blocks[conjugate] = same, shared * inputs
    R, (G, N) = len(system.C), lam.shape
    S = np.empty((G, N, R, 2, N, R, 2))
    for r in range(R):
        for s in range(R):
            P, Q = blocks[True][r != s], blocks[False][r != s]
            S[:, :, r, 0, :, s, 0] = (P + Q).real / 2
            S[:, :, r, 1, :, s, 1] = (P - Q).real / 2
            S[:, :, r, 0, :, s, 1] = (Q - P).imag / 2
            S[:, :, r, 1, :, s, 0] = (Q + P).imag / 2
    return S.reshape(G, 2 * R * N, 2 * R * N)


def mixed(S: Float[np.ndarray, "G d d"], white: Float[np.ndarray, "G d d"], share: float) -> Float[np.ndarray, "G d d"]:
    """S with `share` of the white-input moments, scaled to the same trace in each system.

    What calibration sequences never excite would cost nothing to get wrong: on longer sequences such directions grow.
    """
    traces, wanted = np.trace(white, axis1=1, axis2=2), np.trace(S, axis1=1, axis2=2)
    scale = np.divide(wanted, traces, out=np.ones_like(traces), where=(traces > 0) & (wanted > 0))
    return S + share * scale[:, None, None] * white


def energy(W: Float[np.ndarray, "G K d"], S: Float[np.ndarray, "G d d"]) -> Float[np.ndarray, "G K"]:
    """E[(W f)^2] of every output, w S w^T."""
    return np.maximum(np.einsum("gkd,gkd->gk", W @ S, W), 0.0)


def raised(metric: Float[np.ndarray, "G K K"]) -> Float[np.ndarray, "G K K"]:
    """A metric made positive definite: with METRIC_RIDGE of its mean diagonal, and a trace of that of all systems."""
    mean = np.einsum("gkk->g", metric) / metric.shape[-1]
    floor = 1e-12 * mean.max() or 1.0
    return metric + (METRIC_RIDGE * mean + floor)[:, None, None] * np.eye(metric.shape[-1])


def _geometric(a: np.ndarray, b: np.ndarray, terms: int | float) -> np.ndarray:
    """1 + z + .. + z^(terms - 1) for z = a b, without cancellation near z = 1."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.log(a) + np.log(b)
        if np.isinf(terms):
            total = np.where(np.abs(a * b) < 1, -1 / np.expm1(exponent), np.inf)
        else:
            total = np.expm1(terms * exponent) / np.expm1(exponent)
        total = np.where(a * b == 0, 1.0, total)
        return np.where(a * b == 1, terms, total)
