"""SparseGPT against optimal brain surgery by brute force: what is left is solved for anew after each removal."""

from __future__ import annotations

import numpy as np
import pytest

from last_cli.pruning.sparse import sparsegpt as module
from last_cli.pruning.sparse.pattern import Pattern, Sparsity, lowest, pattern_of
from last_cli.pruning.sparse.sparsegpt import DAMPING, sparsegpt
from last_cli.pruning.sparse.wanda import wanda

ROWS, COLUMNS = 5, 16


@pytest.fixture
def layer() -> tuple[np.ndarray, np.ndarray]:
    """A matrix, and X X^T of correlated inputs."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(COLUMNS, COLUMNS)) @ rng.normal(size=(COLUMNS, 60))
    return rng.normal(size=(ROWS, COLUMNS)).astype(np.float32), x @ x.T


def brute(weight: np.ndarray, gram: np.ndarray, sparsity: Sparsity, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Row by row: in each block the removal that raises the error least, all weights from the block on solved anew."""
    hessian = gram + DAMPING * np.diag(gram).mean() * np.eye(len(gram))
    new, removed = weight.astype(np.float64), np.zeros(weight.shape, bool)
    for row in range(len(weight)):
        for first in range(0, COLUMNS, block):
            start, width = new[row].copy(), sparsity.width(block)
            for _ in range(sparsity.removed(first, first + block)):
                tried = []
                for j in np.flatnonzero(~removed[row, first : first + block]).tolist():
                    j += first
                    group = slice(first + (j - first) // width * width, first + (j - first) // width * width + width)
                    if removed[row, group].sum() < sparsity.removed(group.start, group.stop):
                        gone = removed[row].copy()
                        gone[j] = True
                        tried.append((*solved(start, hessian, gone, first), j))
                _, new[row], j = min(tried, key=lambda one: one[0])
                removed[row, j] = True
    return new, removed


def solved(start: np.ndarray, hessian: np.ndarray, gone: np.ndarray, first: int) -> tuple[float, np.ndarray]:
    """The least error with respect to `start` without some weights, and the weights that have it."""
    left = np.flatnonzero(~gone & (np.arange(len(start)) >= first))
    change = np.where(gone, -start, 0.0)
    change[left] = -np.linalg.solve(hessian[np.ix_(left, left)], hessian[left] @ change)
    return float(change @ hessian @ change), start + change


@pytest.mark.parametrize("sparsity", [Sparsity(0.5), Sparsity(0.25), Sparsity(0.5, Pattern(2, 4))])
def test_it_is_optimal_brain_surgery(
    layer: tuple[np.ndarray, np.ndarray], sparsity: Sparsity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "ROWS", 2)
    found = sparsegpt(*layer, sparsity)
    new, removed = brute(*layer, sparsity, 8)
    np.testing.assert_array_equal(found.removed, removed)
    assert found.weight is not None
    np.testing.assert_allclose(found.weight, new, rtol=1e-5, atol=1e-6)


def test_its_error_is_below_that_of_wanda(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weight, gram = layer

    def error(new: np.ndarray) -> float:
        return float(np.einsum("ri,ij,rj->", new - weight, gram, new - weight))

    plain = wanda(weight, np.diag(gram), Sparsity(0.5))
    found = sparsegpt(weight, gram, Sparsity(0.5))
    assert found.weight is not None
    assert error(found.weight) < 0.7 * error(np.where(plain.removed, 0, weight))


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.77, 0.99])
def test_every_row_loses_its_share_exactly(layer: tuple[np.ndarray, np.ndarray], ratio: float) -> None:
    weight, gram = layer
    for found in (wanda(weight, np.diag(gram), Sparsity(ratio)), sparsegpt(weight, gram, Sparsity(ratio))):
        assert (found.removed.sum(axis=1) == int(ratio * COLUMNS)).all()
        if ratio == 0 and found.weight is not None:
            np.testing.assert_array_equal(found.weight, weight)


def test_inputs_that_are_never_other_than_zero_go_first() -> None:
    weight = np.ones((3, 8), np.float32)
    gram = np.diag([0.0, 1, 0, 1, 0, 1, 0, 1])
    found = sparsegpt(weight, gram, Sparsity(0.5))
    np.testing.assert_array_equal(found.removed, np.tile([True, False], (3, 4)))
    nothing = sparsegpt(weight, np.zeros((8, 8)), Sparsity(0.5))
    assert nothing.weight is not None and np.isfinite(nothing.weight).all()


def test_of_equal_scores_the_first_go_and_patterns_are_read() -> None:
    np.testing.assert_array_equal(lowest(np.ones((1, 4)), 2), [[True, True, False, False]])
    assert pattern_of("4:8") == Pattern(4, 8) and pattern_of("1:4").ratio == 0.75
