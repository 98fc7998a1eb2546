"""SparseGPT against optimal brain surgery by brute force: the inverse Hessian of what is left, solved anew each time."""

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
    """Row by row, column by column: weights from j on are re-solved with the inverse of their own Hessian."""
    hessian = gram + DAMPING * np.diag(gram).mean() * np.eye(len(gram))
    new, removed = weight.astype(np.float64), np.zeros(weight.shape, bool)
    inverses = [np.linalg.inv(hessian[j:, j:]) for j in range(len(gram))]
    for row in range(len(weight)):
        for j in range(weight.shape[1]):
            width = sparsity.width(block)
            if j % width == 0:
                cost = [new[row, k] ** 2 / inverses[k][0, 0] for k in range(j, min(j + width, COLUMNS))]
                go = np.argsort(cost, kind="stable")[: sparsity.removed(j, j + len(cost))]
                removed[row, j + go] = True
            if removed[row, j]:
                new[row, j:] -= new[row, j] / inverses[j][0, 0] * inverses[j][0]
                new[row, j] = 0
    return new, removed


@pytest.mark.parametrize("sparsity", [Sparsity(0.5), Sparsity(0.3), Sparsity(0.5, Pattern(2, 4))])
def test_it_is_optimal_brain_surgery(
    layer: tuple[np.ndarray, np.ndarray], sparsity: Sparsity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "ROWS", 2)
    found = sparsegpt(*layer, sparsity)
    new, removed = brute(*layer, sparsity, 8)
    np.testing.assert_array_equal(found.removed, removed)
    np.testing.assert_allclose(found.weight, new, rtol=1e-5, atol=1e-6)


def test_its_error_is_below_that_of_wanda(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weight, gram = layer

    def error(new: np.ndarray) -> float:
        return float(np.einsum("ri,ij,rj->", new - weight, gram, new - weight))

    plain = wanda(weight, np.diag(gram), Sparsity(0.5))
    found = sparsegpt(weight, gram, Sparsity(0.5))
    assert found.weight is not None
    assert error(found.weight) < 0.8 * error(np.where(plain.removed, 0, weight))


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
