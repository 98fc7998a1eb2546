"""Balanced truncation of one diagonal system, and what is guaranteed of it.

    x[t] = diag(lam) x[t-1] + B u[t]        y[t] = C x[t]

The Gramians P = sum of lam^t B B^H lam^-t and Q, likewise of C, are known in closed form. In coordinates in which both
are diag(s), s being the Hankel singular values, the last states are cut off (Moore, IEEE TAC 1981). Balancing goes by
the square-root method (Laub et al., IEEE TAC 1987), with factors from eigenvalues, as Gramians may be nearly singular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Complex, Float

FLOOR = 1e-7
CONDITION = 1e4


@dataclass(frozen=True, eq=False)
class Diagonal:
    """A diagonal system: poles, inputs and readouts."""

    lam: Complex[np.ndarray, " n"]
    B: Complex[np.ndarray, "n M"]
    C: Complex[np.ndarray, "K n"]


@dataclass(frozen=True, eq=False)
class Balanced:
    """A balanced system, without the states whose Hankel singular values are lost in rounding.

    Attributes:
        hankel: all Hankel singular values, in descending order.
        A, B, C: of the first states; each leading part is the truncated system.
    """

    hankel: Float[np.ndarray, " n"]
    A: Complex[np.ndarray, "k k"]
    B: Complex[np.ndarray, "k M"]
    C: Complex[np.ndarray, "K k"]

    @property
    def order(self) -> int:
        """States that are not lost in rounding."""
        return len(self.A)

    def error(self, order: int) -> float:
        """Bound of the H-infinity norm of what truncation to `order` states changes, 2 (s_order+1 + .. + s_n).

        (Enns, CDC 1984; in discrete time Al-Saggaf & Franklin, IEEE TAC 1987.) The norm is s_order+1 at least.
        """
        return float(2 * self.hankel[order:].sum())


def balance(system: Diagonal) -> Balanced:
    """The balanced form of a stable system."""
    lam, B, C = system.lam, system.B, system.C
    P = B @ B.conj().T / (1 - lam[:, None] * lam.conj())
    Q = C.conj().T @ C / (1 - lam.conj()[:, None] * lam)
    scale = _even(np.diag(P).real, np.diag(Q).real)
    left, right = _factor(Q / (scale[:, None] * scale)), _factor(P * (scale[:, None] * scale))
    U, hankel, V = np.linalg.svd(left.conj().T @ right)
    k = int((hankel > FLOOR * hankel.max(initial=0.0)).sum())
    root = np.sqrt(hankel[:k])
    into, out = (right @ V[:k].conj().T) / root / scale[:, None], (left @ U[:, :k]) / root * scale[:, None]
    return Balanced(hankel, out.conj().T @ (lam[:, None] * into), out.conj().T @ B, C @ into)


def truncate(balanced: Balanced, order: int) -> Diagonal | None:
    """The first `order` states in diagonal form; None where its eigenvectors are too nearly dependent."""
    order = min(order, balanced.order)
    lam, T = np.linalg.eig(balanced.A[:order, :order])
    if order and np.linalg.cond(T) > CONDITION:
        return None
    return Diagonal(lam, np.linalg.solve(T, balanced.B[:order]), balanced.C[:, :order] @ T)


def rounding(exact: Diagonal, stored: Diagonal) -> float:
    """Bound of the H-infinity norm of the difference of two systems of nearly the same states, state by state."""

    def sizes(B: np.ndarray, C: np.ndarray) -> np.ndarray:
        return np.linalg.norm(B, axis=1) * np.linalg.norm(C, axis=0)

    decay, decayed = 1 - np.abs(exact.lam), 1 - np.abs(stored.lam)
    moved = sizes(stored.B, stored.C - exact.C) + sizes(stored.B - exact.B, exact.C)
    moved = moved + sizes(exact.B, exact.C) * np.abs(stored.lam - exact.lam) / decay
    return float((moved / decayed).sum())


def _even(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Scales of the states under which the diagonals of both Gramians agree."""
    ratio = np.divide(Q, P, out=np.ones_like(P), where=(P > 0) & (Q > 0))
    return np.where(ratio > 0, ratio, 1.0) ** 0.25


def _factor(gramian: np.ndarray) -> np.ndarray:
    """L with L L^H = gramian; what rounding made negative is zero."""
    values, vectors = np.linalg.eigh(gramian)
    return vectors * np.sqrt(np.maximum(values, 0.0))
