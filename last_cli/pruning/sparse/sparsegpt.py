"""SparseGPT (Frantar and Alistarh, ICML 2023): a weight goes, and those behind it in its row make up for it.

Optimal brain surgery, column by column: of the Hessian H = X X^T + damping of a row's squared error let U be the upper
factor of H^-1 = U^T U. The column j of a block costs w_j^2 / U_jj^2 to remove, and its removal takes w_j / U_jj times
the row j of U off the weights from there on; those behind the block get the changes of the whole block at once. All of
it is in float64. The original shares out a block's zeros among its rows, too; here every row has as many.
"""

from __future__ import annotations

import numpy as np

from last_cli.base.annotations import Float
from last_cli.pruning.sparse.chosen import Chosen
from last_cli.pruning.sparse.pattern import Sparsity, lowest

BLOCK, ROWS, DAMPING = 128, 1024, 0.01
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
    columns, removed, diagonal = weight.shape[1], np.zeros(weight.shape, bool), np.diag(upper)
    block = sparsity.width(1) * max(BLOCK // sparsity.width(1), 1)
    for first in range(0, columns, block):
        last = min(first + block, columns)
        errors = np.zeros((len(weight), last - first))
        for j in range(first, last):
            width = sparsity.width(last - first)
            if not (j - first) % width:  # Of a pattern as it comes, else for a block at its start.
                own = slice(j, j + width)
                removed[:, own] = lowest(np.square(weight[:, own] / diagonal[own]), sparsity.removed(j, j + width))
            lost = np.where(removed[:, j], weight[:, j], 0.0) / diagonal[j]
            weight[:, j:last] -= lost[:, None] * upper[j, j:last]
            errors[:, j - first] = lost
        weight[:, last:] -= errors @ upper[first:last, last:]
    return removed
