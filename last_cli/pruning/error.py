"""How far a reduced layer is from the original: what is guaranteed, and what predicts.

The difference of both is again a `System`, with the same poles and inputs and the difference of the readouts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import factorial

import numpy as np

from last_cli.base.annotations import Bool, Complex, Float
from last_cli.families.lti.system import System
from last_cli.pruning.moments import energy, readout_matrix, white_moments
from last_cli.results.prune import Difference

TOLERANCE = 0.1
ROUNDS = 60
STARTING_INTERVALS = 64
SINGULAR_VALUE_WORK = 2**30
INTERVAL_WORK = 2**33
EULERIAN = ((1,), (1, 1), (1, 4, 1))


def difference(system: System, C: Complex[np.ndarray, "R G K N"], S: Float[np.ndarray, "G d d"] | None) -> Difference:
    """Between a system and the same with another C, zero for what is removed; S is measured on calibration inputs."""
    change = replace(system, C=system.C - C)
    kept = (C != 0).any(axis=(0, 2))[None, :, None, :]
    before = float(np.linalg.norm(np.where(kept, system.C, 0)))
    stable = bool((np.abs(system.lam[system.live_mask]) < 1).all())
    return Difference(
        hinf=hinf_interval(change) if stable else (np.inf, np.inf),
        h2=_relative(change, system, white_moments(system, np.inf)) if stable else np.inf,
        calibration=None if S is None else _relative(change, system, S),
        growth=float(np.linalg.norm(C)) / before if before else 1.0,
    )


def hinf_interval(system: System, tolerance: float = TOLERANCE) -> tuple[float, float]:
    """Two numbers that the H-infinity norm of a stable layer lies between; without D.

    Frequencies 0 to pi are cut into intervals. At the middle of each the largest singular value of the response is
    computed, unless its Frobenius norm is already small enough. Off the middle, by a half width h, it is larger by at
    most h |H'| + h^2 / 2 |H''| + h^3 / 6 max |H'''|. Intervals that may hold more than the largest value found are
    halved, as long as INTERVAL_WORK lasts: a difference many orders of magnitude below what it is between may leave a
    wider interval.
    """
    terms = _terms(system)
    G, K, Q = terms.left.shape
    edges = np.linspace(0, np.pi, STARTING_INTERVALS + 1)
    g = np.repeat(np.arange(G), STARTING_INTERVALS)
    middle, half = np.tile((edges[1:] + edges[:-1]) / 2, G), np.full(len(g), edges[1] / 2)
    best = closed = still_open = 0.0
    budget = max(16, SINGULAR_VALUE_WORK // K**3)
    # With one input and one output, a term takes as long as a hundred products of the Gram matrix.
    affordable = INTERVAL_WORK // (100 * Q if terms.scalar else Q**2)
    for _ in range(ROUNDS):
        gain, *derivatives = _in_chunks(terms, g, middle, half)
        slack = np.sum([half**k / factorial(k) * norm for k, norm in enumerate(derivatives, start=1)], axis=0)
        ceiling = gain + slack
        if K == 1:
            best = max(best, float(gain.max()))
        else:
            for part in np.array_split(np.argsort(-ceiling), -(-len(g) // 16)):
                if budget <= 0 or ceiling[part[0]] <= (1 + tolerance) * best:
                    break
                norms = np.array([np.linalg.norm(_response(terms, int(g[i]), float(middle[i])), 2) for i in part])
                best, budget = max(best, float(norms.max())), budget - len(part)
                ceiling[part] = norms + slack[part]
        # Without singular values left, the Frobenius norm is the best that can be guaranteed.
        unsure = ceiling > (1 + tolerance) * (best if budget > 0 else max(best, float(gain.max())))
        closed = max(closed, float(ceiling[~unsure].max(initial=0.0)))
        still_open = float(ceiling[unsure].max(initial=0.0))
        affordable -= len(g)
        if not unsure.any() or 2 * unsure.sum() > affordable:
            break
        g, half = np.repeat(g[unsure], 2), np.repeat(half[unsure] / 2, 2)
        middle = np.repeat(middle[unsure], 2) + half * np.tile([-1, 1], len(g) // 2)
    return best, max(best, closed, still_open)


@dataclass(frozen=True)
class _Terms:
    """A layer's response as the sum over q of left[:, q] right[q] z^lag / (1 - lam z), z = exp(-+jw), in each system.

    A state gives one term for each readout, and one for its conjugate.
    """

    lam: Complex[np.ndarray, "G Q"]
    left: Complex[np.ndarray, "G K Q"]
    right: Complex[np.ndarray, "G Q M"]
    sign: Float[np.ndarray, " Q"]
    lag: Bool[np.ndarray, " Q"]

    @property
    def scalar(self) -> bool:
        """Whether each system has one input and one output."""
        return self.left.shape[1] == self.right.shape[2] == 1

    @cached_property
    def gram(self) -> Complex[np.ndarray, "G Q Q"]:
        """Inner products of the terms' matrices left right."""
        lefts = np.swapaxes(self.left.conj(), 1, 2) @ self.left
        return lefts * (self.right.conj() @ np.swapaxes(self.right, 1, 2))


def _terms(system: System) -> _Terms:
    R = len(system.C)
    live = np.where(system.live_mask, system.lam, 0)
    C = system.gain / 2 * np.where(system.live_mask[:, None, :], system.C, 0)
    left = np.concatenate([c for r in range(R) for c in (C[r], C[r].conj())], axis=-1)
    right = np.concatenate([system.B, system.B.conj()] * R, axis=1)
    lam = np.concatenate([live, live.conj()] * R, axis=1)
    readout = np.repeat(np.arange(R), 2 * live.shape[1])
    return _Terms(lam, left, right, 1.0 - 2.0 * readout, (readout * system.backward_lag).astype(bool))


def _response(terms: _Terms, g: int, w: float) -> np.ndarray:
    """The transfer matrix (K, M) of system g at frequency w."""
    z = np.exp(-1j * w * terms.sign)
    return (terms.left[g] * np.where(terms.lag, z, 1.0) / (1 - terms.lam[g] * z)) @ terms.right[g]


def _expansion(terms: _Terms, g: np.ndarray, w: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Frobenius norms of H and of its derivatives at frequencies w, and a bound of the last within `half` of w; (4, I).

    With a = lam z a term is 1 / (1 - a), and its k-th derivative a E_k(a) / (1 - a)^(k + 1) but for a factor of size 1,
    with the Eulerian polynomials E_k; with a lag all are divided by lam.
    """
    lam = terms.lam[g]
    z = np.exp(-1j * w[:, None] * terms.sign)
    over = 1 - lam * z
    values = [np.where(terms.lag, z, 1.0) / over]
    part = np.where(terms.lag, z, lam * z) / over
    for eulerian in EULERIAN[:-1]:
        part = part * (terms.sign / over)
        values.append(part * np.polyval(eulerian, lam * z))
    size = np.linalg.norm(terms.left, axis=1)[g] * np.linalg.norm(terms.right, axis=2)[g]
    near = np.maximum(np.abs(over) - half[:, None] * np.abs(lam), 1 - np.abs(lam))
    last = np.polyval(EULERIAN[-1], np.abs(lam)) / near ** (len(EULERIAN) + 1)
    bound = (size * np.where(terms.lag, 1.0, np.abs(lam)) * last).sum(axis=1)
    return np.stack([*(_frobenius(terms, g, value) for value in values), bound])


def _frobenius(terms: _Terms, g: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Frobenius norms (I,) of the sums of left right values; for one input and one output the size itself."""
    if terms.scalar:
        return np.abs((values * terms.left[g, 0] * terms.right[g, :, 0]).sum(axis=1))
    result = np.empty(len(g))
    for one in np.unique(g):
        v = values[g == one]
        result[g == one] = np.sqrt(np.maximum(((v.conj() @ terms.gram[one]) * v).sum(axis=1).real, 0.0))
    return result


def _in_chunks(terms: _Terms, g: np.ndarray, w: np.ndarray, half: np.ndarray) -> np.ndarray:
    """`_expansion` for a few thousand intervals at a time: each has a row as long as the layer has terms."""
    parts = [slice(first, first + 4096) for first in range(0, len(g), 4096)]
    return np.concatenate([_expansion(terms, g[i], w[i], half[i]) for i in parts], axis=1)


def _relative(change: System, system: System, S: np.ndarray) -> float:
    whole = energy(readout_matrix(system), S).sum()
    return float(np.sqrt(energy(readout_matrix(change), S).sum() / whole)) if whole > 0 else 0.0
