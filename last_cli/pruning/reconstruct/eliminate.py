"""Greedy elimination of states with the readout refitted in closed form, in the manner of the optimal brain surgeon.

For y = W f and S = E[f f^T], let H = S^-1 and i the coordinates of one state. Removing them and choosing the other
columns of W anew by least squares raises the error E|y - W' f|^2 by tr(W_i [H_ii]^-1 W_i^T), at

    W' = W - W_i [H_ii]^-1 H_i.           H' = H - H_.i [H_ii]^-1 H_i.

(Hassibi & Stork, NeurIPS 1992, with blocks of coordinates for single weights). The increments along an elimination
add up to the error of the whole removal. All G systems of a layer go at once, one state of each at every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Bool, Float, Int

RIDGE = 1e-3


@dataclass(frozen=True)
class Problem:
    """A layer's readout and moments, each coordinate scaled to variance 1, with the ridge in the moments.

    The ridge adds RIDGE * (w' - w)^2 of each scaled coordinate to the error: it holds the refit near the old C.
    """

    W: Float[np.ndarray, "G K d"]
    S: Float[np.ndarray, "G d d"]
    scale: Float[np.ndarray, "G d"]
    live: Bool[np.ndarray, "G N"]

    @property
    def width(self) -> int:
        """Coordinates of a state."""
        return self.W.shape[2] // self.live.shape[1]


def problem(
    W: Float[np.ndarray, "G K d"],
    S: Float[np.ndarray, "G d d"],
    live: Bool[np.ndarray, "G N"],
    ridge: float = RIDGE,
) -> Problem:
    """The scaled problem of a layer; padding, and states that no input reaches, are uncoupled from all others.

    A state's coordinates have one scale between them: the imaginary part of a real pole's state is zero throughout.
    """
    G, N = live.shape
    d = S.shape[-1]
    diagonal = np.einsum("gdd->gd", S).reshape(G, N, -1).mean(axis=-1)
    scale = np.repeat(np.sqrt(np.where(live & (diagonal > 0), diagonal, 1.0)), d // N, axis=1)
    scaled = S / (scale[:, :, None] * scale[:, None, :])
    dead = np.repeat(~live | (diagonal <= 0), d // N, axis=1)
    scaled[dead[:, :, None] | dead[:, None, :]] = 0.0
    index = np.arange(d)
    scaled[:, index, index] += np.where(dead, 1.0, ridge)
    W = np.where(dead[:, None, :], 0.0, W * scale[:, None, :])
    return Problem(W, scaled, scale, live)


@dataclass(frozen=True)
class Path:
    """The order in which each system loses its states, and what each removal costs when its turn comes."""

    order: Int[np.ndarray, "G N"]
    cost: Float[np.ndarray, "G N"]

    def by_state(self) -> Float[np.ndarray, "G N"]:
        """For each state the largest cost up to its removal: ranked by it, no state goes before its turn."""
        result = np.empty_like(self.cost)
        np.put_along_axis(result, self.order, np.maximum.accumulate(self.cost, axis=1), axis=1)
        return result


def eliminate(
    problem: Problem,
    rows: Float[np.ndarray, "G K"] | None = None,
    states: Float[np.ndarray, "G N"] | None = None,
) -> Path:
    """All states of a layer, the one that costs least first, down to none.

    Padding goes first, at no cost. What is gone is moved behind the states that remain, so that every step works on a
    smaller leading block.

    Args:
        problem: the layer's readout and moments.
        rows: weights on the squared errors of the outputs.
        states: factors on the states' costs.
    """
    (G, N), b = problem.live.shape, problem.width
    W = problem.W if rows is None else problem.W * np.sqrt(rows)[:, :, None]
    W = _square(W).reshape(G, -1, N, b)
    H = np.linalg.inv(problem.S).reshape(G, N, b, N, b)
    states = np.ones((G, N)) if states is None else states
    factor = np.where(problem.live, states, 0.0)
    order, cost, all_groups = np.tile(np.arange(N), (G, 1)), np.zeros((G, N)), np.arange(G)
    for left in range(N, 0, -1):
        Hs, Ws = H[:, :left, :, :left], W[:, :, :left]
        blocks = np.einsum("gnbnc->gnbc", Hs)
        gram = np.einsum("gknb,gknc->gnbc", Ws, Ws)
        prices = factor[:, :left] * np.einsum("gnbc,gnbc->gn", np.linalg.inv(blocks), gram)
        prices = np.where(problem.live[all_groups[:, None], order[:, :left]], np.maximum(prices, 0.0), -1.0)
        chosen = prices.argmin(axis=1)
        cost[:, left - 1] = np.maximum(prices[all_groups, chosen], 0.0)
        _swap(chosen, left - 1, order, factor, W, H)
        if not (last := left - 1):
            break
        Hi = np.linalg.solve(H[:, last, :, last], H[:, last, :, :last].reshape(G, b, -1))
        H[:, :last, :, :last] -= (H[:, :last, :, last].reshape(G, -1, b) @ Hi).reshape(G, last, b, last, b)
        W[:, :, :last] -= (W[:, :, last] @ Hi).reshape(G, -1, last, b)
    return Path(order[:, ::-1].copy(), cost[:, ::-1].copy())


def refit(problem: Problem, keep: Bool[np.ndarray, "G N"]) -> Float[np.ndarray, "G K d"]:
    """The best readout from the kept states, zero elsewhere: W S_.k [S_kk]^-1, in the unscaled coordinates."""
    kept = np.repeat(keep & problem.live, problem.width, axis=1)
    S = np.where(kept[:, :, None] & kept[:, None, :], problem.S, 0.0)
    index = np.arange(kept.shape[1])
    S[:, index, index] += ~kept
    wanted = np.where(kept[:, None, :], problem.W @ problem.S, 0.0)
    W = np.swapaxes(np.linalg.solve(S, np.swapaxes(wanted, 1, 2)), 1, 2)
    return W / problem.scale[:, None, :]


def _square(W: np.ndarray) -> np.ndarray:
    """As few rows as have the same W^T W."""
    if W.shape[1] <= W.shape[2]:
        return W.copy()
    return np.linalg.qr(W).R


def _swap(chosen: np.ndarray, last: int, order: np.ndarray, factor: np.ndarray, W: np.ndarray, H: np.ndarray) -> None:
    """Exchange each system's chosen state with its last remaining one, in place."""
    g = np.arange(len(chosen))
    for array in (order, factor):
        array[g, chosen], array[g, last] = array[g, last].copy(), array[g, chosen].copy()
    W[g, :, chosen], W[g, :, last] = W[g, :, last].copy(), W[g, :, chosen].copy()
    H[g, chosen], H[g, last] = H[g, last].copy(), H[g, chosen].copy()
    H[g, :, :, chosen], H[g, :, :, last] = H[g, :, :, last].copy(), H[g, :, :, chosen].copy()
