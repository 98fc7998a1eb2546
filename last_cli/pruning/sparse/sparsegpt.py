"""SparseGPT (Frantar and Alistarh, ICML 2023): weights go, and those that stay in their row make up for it.

Optimal brain surgery in blocks of columns: of the Hessian H = X X^T + damping of a row's squared error let U be the
upper factor of H^-1 = U^T U; then that of the columns from one on is the lower right part of U. In every block each row
loses its share, the weight whose removal costs least after those before it, and what this takes off the weights behind
the block they get at once. All of it is in float64. The original chooses all of a block's weights by their costs before
any of them is gone, of all rows together, and lets those that stay in the block make up for the ones before them alone.
"""

from __future__ import annotations

import numpy as np

from last_cli.base.annotations import Float
from last_cli.pruning.sparse.chosen import Chosen
from last_cli.pruning.sparse.pattern import Sparsity

BLOCK, ROWS, DAMPING = 128, 128, 0.01
"""Columns of a block, rows that are worked on at once, and the damping, a share of the mean of H's diagonal."""


def sparsegpt(
    weight: Float[np.ndarray, "rows columns"], gram: Float[np.ndarray, "columns columns"], sparsity: Sparsity
) -> Chosen:
    """The choice in one matrix, and its new weights.

    Args:
        weight: what is pruned.
        gram: X X^T of what it reads, summed over the tokens.
        sparsity: how many go.
    """
    upper = factor(gram)
    removed, new = np.zeros(weight.shape, bool), np.empty(weight.shape, np.float32)
    for first in range(0, len(weight), ROWS):
        rows = slice(first, first + ROWS)
        own = weight[rows].astype(np.float64)
        removed[rows] = _eliminate(own, upper, sparsity)
        new[rows] = np.where(removed[rows], 0.0, own)
    return Chosen(removed, new)


def factor(gram: Float[np.ndarray, "columns columns"]) -> Float[np.ndarray, "columns columns"]:
    """The upper U of (X X^T + damping)^-1 = U^T U; where nothing was read, that of the identity."""
    mean = float(np.diag(gram).mean())
    damped = gram + (DAMPING * mean or 1.0) * np.eye(len(gram))
    inverse = np.linalg.inv(damped)
    return np.linalg.cholesky((inverse + inverse.T) / 2).T


def _eliminate(
    weight: Float[np.ndarray, "rows columns"], upper: Float[np.ndarray, "columns columns"], sparsity: Sparsity
) -> np.ndarray:
    """What goes of some rows, which are changed in place."""
    columns, removed = weight.shape[1], np.zeros(weight.shape, bool)
    block = sparsity.width(1) * max(BLOCK // sparsity.width(1), 1)
    for first in range(0, columns, block):
        last = min(first + block, columns)
        inverse = upper[first:last, first:last].T @ upper[first:last, first:]
        gone = _greedy(weight[:, first:last], inverse[:, : last - first], sparsity, (first, last))
        weight[:, first:] -= _multipliers(weight[:, first:last], inverse[:, : last - first], gone) @ inverse
        removed[:, first:last] = gone
    return removed


def _greedy(
    weight: Float[np.ndarray, "rows n"],
    inverse: Float[np.ndarray, "n n"],
    sparsity: Sparsity,
    columns: tuple[int, int],
) -> np.ndarray:
    """What goes of each row of a block, one weight after the other: the one that costs least then."""
    rows, width = np.arange(len(weight)), sparsity.width(weight.shape[1])
    weight, own = weight.copy(), np.repeat(inverse[None], len(weight), axis=0)
    removed, most = np.zeros(weight.shape, bool), sparsity.removed(*columns)
    each = most if sparsity.pattern is None else sparsity.removed(0, width)
    for _ in range(most):
        full = removed.reshape(len(weight), -1, width).sum(axis=-1) >= each
        diagonal = np.maximum(np.einsum("rii->ri", own), np.finfo(float).tiny)
        cost = np.where(removed | np.repeat(full, width, axis=1), np.inf, np.square(weight) / diagonal)
        j = cost.argmin(axis=1)
        column = own[rows, :, j] / np.sqrt(diagonal[rows, j])[:, None]
        weight -= (weight[rows, j] / np.sqrt(diagonal[rows, j]))[:, None] * column
        own -= column[:, :, None] * column[:, None, :]
        removed[rows, j] = True
        weight[removed] = 0.0
    return removed


def _multipliers(
    weight: Float[np.ndarray, "rows n"], inverse: Float[np.ndarray, "n n"], gone: np.ndarray
) -> Float[np.ndarray, "rows n"]:
    """By how much of each row of the inverse the weights change, so that those that go become 0: as many in each."""
    found = np.zeros_like(weight)
    if gone.any():
        index = np.nonzero(gone)[1].reshape(len(weight), -1)
        among = inverse[index[:, :, None], index[:, None, :]]
        wanted = np.take_along_axis(weight, index, axis=1)
        np.put_along_axis(found, index, np.linalg.solve(among, wanted[..., None])[..., 0], axis=1)
    return found
