"""WANDA (Sun et al., ICLR 2024): the weights of a row that are smallest times the norm of what they read go."""

from __future__ import annotations

import numpy as np

from last_cli.base.annotations import Float
from last_cli.pruning.sparse.chosen import Chosen
from last_cli.pruning.sparse.pattern import Sparsity, lowest

ROWS = 1024  # that are sorted at once


def wanda(
    weight: Float[np.ndarray, "rows columns"], squares: Float[np.ndarray, " columns"], sparsity: Sparsity
) -> Chosen:
    """The choice in one matrix; rows are chosen in by themselves, in float64.

    Args:
        weight: what is pruned.
        squares: of what each column reads, summed over the tokens.
        sparsity: how many go.
    """
    removed, least, norm = np.empty(weight.shape, bool), np.inf, np.sqrt(squares)
    width = sparsity.width(weight.shape[1])
    for first in range(0, len(weight), ROWS):
        rows = slice(first, first + ROWS)
        score = np.abs(weight[rows]) * norm
        parts = score.reshape(len(score), -1, width)
        removed[rows] = lowest(parts, sparsity.removed(0, width)).reshape(score.shape)
        least = min(least, float(score[~removed[rows]].min(initial=np.inf)))
    return Chosen(removed, least=least if np.isfinite(least) else None)
