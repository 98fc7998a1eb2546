"""Balanced truncation against dense Gramians, its bound, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_layers import fixed
from scipy.linalg import solve_discrete_lyapunov

from last_cli.pruning.balanced.truncate import Balanced, Diagonal, balance, rounding, truncate

FREQUENCIES = np.linspace(-np.pi, np.pi, 401)


def random_system(seed: int, states: int = 6, inputs: int = 2, outputs: int = 3) -> Diagonal:
    rng = np.random.default_rng(seed)
    lam = rng.uniform(0.2, 0.98, states) * np.exp(1j * rng.uniform(-np.pi, np.pi, states))
    B = rng.normal(size=(states, inputs)) + 1j * rng.normal(size=(states, inputs))
    C = rng.normal(size=(outputs, states)) + 1j * rng.normal(size=(outputs, states))
    return Diagonal(lam, B * rng.uniform(0.01, 10, (states, 1)), C)


def responses(system: Diagonal) -> np.ndarray:
    z = np.exp(1j * FREQUENCIES)
    return np.einsum("kn,fn,nm->fkm", system.C, z[:, None] / (z[:, None] - system.lam), system.B)


def error(one: Diagonal, other: Diagonal) -> float:
    return float(np.linalg.norm(responses(one) - responses(other), 2, axis=(1, 2)).max())


def truncated(balanced: Balanced, order: int) -> Diagonal:
    found = truncate(balanced, order)
    assert found is not None
    return found


@fixed
@given(seed=st.integers(0, 10_000))
def test_hankel_singular_values_are_those_of_dense_gramians(seed: int) -> None:
    system = random_system(seed)
    A = np.diag(system.lam)
    P = solve_discrete_lyapunov(A, system.B @ system.B.conj().T)
    Q = solve_discrete_lyapunov(A.conj().T, system.C.conj().T @ system.C)
    wanted = np.sqrt(np.sort(np.linalg.eigvals(P @ Q).real)[::-1])
    np.testing.assert_allclose(balance(system).hankel, wanted, rtol=1e-6)


@fixed
@given(seed=st.integers(0, 10_000), order=st.integers(0, 5))
def test_the_error_lies_between_the_first_truncated_value_and_the_bound(seed: int, order: int) -> None:
    system = random_system(seed)
    balanced = balance(system)
    small = truncated(balanced, order)
    assert small.lam.shape == (order,) and (np.abs(small.lam) < 1).all()
    found = error(system, small)
    assert found <= balanced.error(order) * (1 + 1e-9)
    # The grid misses the peak of a slow pole by little: |lam| is below 0.98, its step 0.016.
    assert found >= balanced.hankel[order] * 0.9


@fixed
@given(seed=st.integers(0, 10_000))
def test_full_order_is_the_same_system(seed: int) -> None:
    system = random_system(seed)
    same = truncated(balance(system), 6)
    np.testing.assert_allclose(np.sort_complex(same.lam), np.sort_complex(system.lam), rtol=1e-8)
    np.testing.assert_allclose(responses(same), responses(system), rtol=1e-7, atol=1e-7)


def test_a_state_twice_is_one_state() -> None:
    one = random_system(0, states=3)
    twice = Diagonal(np.tile(one.lam, 2), np.tile(one.B, (2, 1)), np.tile(one.C, 2))
    balanced = balance(twice)
    assert balanced.order == 3 and balanced.error(3) < 1e-6 * balanced.hankel[0]
    small = truncated(balanced, 5)
    assert len(small.lam) == 3
    np.testing.assert_allclose(responses(small), responses(twice), rtol=1e-6, atol=1e-6)


def test_a_silent_system_has_no_states() -> None:
    system = random_system(0)
    silent = balance(Diagonal(system.lam, system.B, 0 * system.C))
    assert silent.order == 0 and not silent.hankel.any()
    assert truncated(silent, 4).lam.shape == (0,)


def test_a_pole_of_two_dependent_eigenvectors_is_refused() -> None:
    jordan = np.array([[0.5, 1.0], [0.0, 0.5 + 1e-12]], complex)
    assert truncate(Balanced(np.ones(2), jordan, np.ones((2, 1), complex), np.ones((1, 2), complex)), 2) is None


@pytest.mark.parametrize("seed", range(5))
def test_rounding_bounds_the_difference_of_nearly_equal_systems(seed: int) -> None:
    exact, rng = random_system(seed), np.random.default_rng(seed)
    noise = [1 + 1e-4 * rng.normal(size=a.shape) for a in (exact.lam, exact.B, exact.C)]
    stored = Diagonal(exact.lam * np.minimum(noise[0], 1), exact.B * noise[1], exact.C * noise[2])
    assert 0 < error(exact, stored) <= rounding(exact, stored)
    assert rounding(exact, exact) == 0
