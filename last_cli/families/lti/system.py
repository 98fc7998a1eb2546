"""A layer as a set of diagonal discrete-time systems, and the norms of its states.

    x[t+1] = lam * x[t] + B u[t]        y[t] = gain * Re(sum over readouts of C x[t]) + D u[t]

Nothing here imports JAX: the norms are numpy float64, and `System` holds whatever arrays a family computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from last_cli.base.annotations import Bool, Complex, Float

RESPONSE_SIZE = 2**24
AnyArray = Any  # a numpy array or a jax array: families are written against the array API


@dataclass(frozen=True)
class System:
    """G independent diagonal systems of N states, M inputs and K outputs each.

    S5 is one MIMO system (G = 1); S4D is one SISO system per channel (M = K = 1). A conjugate pair is one state.

    Attributes:
        lam: discretised poles, complex (G, N).
        B: discretised input matrix, complex (G, N, M).
        C: output matrices, complex (R, G, K, N); R = 2 readouts when bidirectional: forward, then backward.
        D: feedthrough per feature, real (F,) with F = G * K.
        gain: 2 where each state stands for a conjugate pair, else 1.
        live: False for padding, bool (G, N); None where every state is real.
        backward_lag: the smallest lag that the backward readout sees: 0 in S5, 1 in the state-spaces code.
    """

    lam: AnyArray
    B: AnyArray
    C: AnyArray
    D: AnyArray
    gain: float
    live: AnyArray | None = None
    backward_lag: int = 0

    @cached_property
    def norms(self) -> tuple[np.ndarray, np.ndarray]:
        """2-norms of the states' rows of B (G, N) and of their columns of C (R, G, N)."""
        return np.linalg.norm(self.B, axis=-1), np.linalg.norm(self.C, axis=-2)

    @property
    def live_mask(self) -> Bool[np.ndarray, "G N"]:
        """Which states are real and not padding."""
        return np.ones(self.lam.shape, bool) if self.live is None else np.asarray(self.live)


def feedthrough(leaves: Mapping[str, AnyArray], C: AnyArray) -> AnyArray:
    """The leaf D, (F,); zeros for each output of C (K, N) where a layer has none."""
    xp = C.__array_namespace__()
    return leaves["D"] if "D" in leaves else xp.real(xp.zeros_like(C[:, 0]))


def input_norm(system: System) -> Float[np.ndarray, "G N"]:
    """2-norm of each state's row of B."""
    return system.norms[0]


def readout_norms(system: System) -> Float[np.ndarray, "R G N"]:
    """2-norm of each state's column of C, a row for each readout."""
    return system.norms[1]


def output_norm(system: System) -> Float[np.ndarray, "G N"]:
    """2-norm of each state's column of C, averaged over the readouts (LAST, section 4.2; released code)."""
    return readout_norms(system).mean(axis=0)


def hinf_norm(system: System) -> Float[np.ndarray, "G N"]:
    """H-infinity norm of each one-state subsystem, |C| |B| / (1 - |lam|) (LAST, NeurIPS 2024, eq. 8).

    For |lam| >= 1 the norm is infinite; what the formula gives there is its value, as in the released code.
    """
    return _over(output_norm(system) * input_norm(system), np.abs(1 - np.abs(system.lam)))


def impulse_energy(system: System) -> Float[np.ndarray, "G N"]:
    """Energy of each one-state subsystem's impulse response, (|C| |B|)^2 / (1 - |lam|^2) (AIRE-Prune, ICLR 2026).

    For |lam| > 1 the energy is infinite; what the formula gives there is negative, as in the released code.
    """
    return _over((output_norm(system) * input_norm(system)) ** 2, 1 - np.abs(system.lam) ** 2)


def finite_energy(system: System, horizon: int) -> Float[np.ndarray, "G N"]:
    """Energy of the first `horizon` steps of each one-state subsystem's impulse response.

    (|C| |B|)^2 (1 + r + .. + r^(horizon - 1)) with r = |lam|^2; `impulse_energy` has an infinite horizon. Poles at or
    beyond the unit circle have one as well.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rate = 2 * np.log(np.abs(system.lam))
        steps = np.where(rate == 0, horizon, np.expm1(horizon * rate) / np.expm1(rate))
    return (output_norm(system) * input_norm(system)) ** 2 * steps


def gain_bound(system: System, removed: Bool[np.ndarray, "G N"]) -> float:
    """Upper bound of the H-infinity norm of what is removed from a layer.

    The transfer functions of removed states add up, so their gains bound it, and over the independent systems of a
    layer the largest counts.
    """
    return bound_of(state_gains(system), removed)


def bound_of(gains: Float[np.ndarray, "G N"], removed: Bool[np.ndarray, "G N"]) -> float:
    """`gain_bound` from the states' gains."""
    return float(np.where(removed, gains, 0.0).sum(axis=-1).max())


def state_gains(system: System) -> Float[np.ndarray, "G N"]:
    """Upper bound of each state's own gain: gain times the sum over readouts of |C| |B| / (1 - |lam|)."""
    norms = _over(readout_norms(system).sum(axis=0) * input_norm(system), np.abs(1 - np.abs(system.lam)))
    return system.gain * np.where((np.abs(system.lam) < 1) | (norms == 0), norms, np.inf)


def transfer_gain(system: System, frequencies: Float[np.ndarray, " f"]) -> float:
    """The largest gain of the real system at these frequencies (radians a step), all readouts together.

    A pair's conjugate answers as well: G(w) = gain / 2 * (H(w) + conj(H(-w))) with H(w) = C (e^iw - lam)^-1 B e^iw; the
    backward readout sees the conjugate frequency, and what it sees from a lag of 1 on is turned by that step.
    """
    (G, N, M), K = system.B.shape, system.C.shape[2]
    at_once = max(1, RESPONSE_SIZE // (G * K * (N + M)))
    parts = [frequencies[first : first + at_once] for first in range(0, len(frequencies), at_once)]
    return max((_largest_gain(system, part) for part in parts), default=0.0)


def subtract(system: System, other: System) -> System:
    """The System whose outputs are those of the one minus those of the other, without feedthrough."""
    return replace(
        system,
        lam=np.concatenate([system.lam, other.lam], axis=1),
        B=np.concatenate([system.B, other.B], axis=1),
        C=np.concatenate([system.C, -other.C], axis=3),
        D=0 * system.D,
        live=np.concatenate([system.live_mask, other.live_mask], axis=1),
    )


def _largest_gain(system: System, frequencies: np.ndarray) -> float:
    total: Any = 0.0
    for readout, C in enumerate(system.C):
        z = np.exp((-1j if readout else 1j) * frequencies)
        turn = z.conj()[:, None, None, None] if readout and system.backward_lag else 1.0
        total = total + turn * system.gain / 2 * (_response(system, C, z) + _response(system, C, z.conj()).conj())
    return float(np.linalg.norm(total, ord=2, axis=(-2, -1)).max())


def _response(system: System, C: np.ndarray, z: np.ndarray) -> Complex[np.ndarray, "f G K M"]:
    """C diag(z / (z - lam)) B of every system, by one product each: BLAS is slow at many small ones."""
    z = z[:, None, None]
    weighted = np.moveaxis(C * (z / (z - system.lam))[:, :, None, :], 1, 0)
    G, f, K, N = weighted.shape
    return np.moveaxis((weighted.reshape(G, f * K, N) @ system.B).reshape(G, f, K, -1), 0, 1)


def _over(size: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """size / decay; a state without input or output has size 0 and adds nothing, wherever its pole is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size == 0, 0.0, size / decay)
