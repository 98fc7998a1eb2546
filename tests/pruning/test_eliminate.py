"""Elimination, refit and moments against brute force and simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_layers import KINDS, fixed, simulate

from last_cli.families.lti.system import System
from last_cli.pruning.moments import energy, mixed, readout_matrix, readouts, white_moments
from last_cli.pruning.reconstruct import eliminate

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def random_problem(seed: int, groups: int = 1, outputs: int = 3, states: int = 4, width: int = 2):
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(groups, 50, states * width)) @ rng.normal(size=(groups, states * width, states * width))
    W = rng.normal(size=(groups, outputs, states * width))
    return W, np.swapaxes(f, 1, 2) @ f / 50, np.ones((groups, states), bool)


def augmented(S: np.ndarray, W: np.ndarray, width: int, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows X and targets Y of the plain least-squares problem |X w - Y|^2 that the moments and the ridge stand for."""
    diagonal = np.repeat(np.diag(S).reshape(-1, width).mean(axis=1), width)
    X = np.concatenate([np.linalg.cholesky(S).T, np.diag(np.sqrt(ridge * diagonal))])
    return X, X @ W.T


def least_error(X: np.ndarray, Y: np.ndarray, coordinates: np.ndarray) -> float:
    w = np.linalg.lstsq(X[:, coordinates], Y, rcond=None)[0]
    return float(((X[:, coordinates] @ w - Y) ** 2).sum())


@fixed
@given(seed=st.integers(0, 10_000), width=st.sampled_from([2, 4]), ridge=st.sampled_from([1e-3, 1e-1]))
def test_each_step_is_the_cheapest_and_costs_what_least_squares_says(seed: int, width: int, ridge: float) -> None:
    W, S, live = random_problem(seed, width=width)
    path = eliminate.eliminate(eliminate.problem(W, S, live, ridge))
    X, Y = augmented(S[0], W[0], width, ridge)
    left, spent = list(range(4)), 0.0
    for state, cost in zip(path.order[0], path.cost[0], strict=True):
        errors = {
            i: least_error(X, Y, np.concatenate([np.arange(j * width, (j + 1) * width) for j in left if j != i]))
            if len(left) > 1
            else float((Y**2).sum())
            for i in left
        }
        np.testing.assert_allclose(errors[int(state)], min(errors.values()), rtol=1e-7)
        spent += cost
        np.testing.assert_allclose(spent, errors[int(state)], rtol=1e-7)
        left.remove(int(state))


@fixed
@given(seed=st.integers(0, 10_000), keep=st.lists(st.booleans(), min_size=4, max_size=4))
def test_refit_is_least_squares(seed: int, keep: list[bool]) -> None:
    W, S, live = random_problem(seed)
    found = eliminate.refit(eliminate.problem(W, S, live), np.array([keep]))[0]
    X, Y = augmented(S[0], W[0], 2, eliminate.RIDGE)
    kept = np.repeat(keep, 2)
    wanted = np.zeros_like(W[0])
    wanted[:, kept] = np.linalg.lstsq(X[:, kept], Y, rcond=None)[0].T
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)


@fixed
@given(seed=st.integers(0, 10_000), first=st.integers(0, 3))
def test_a_downdate_is_the_inverse_of_what_is_left(seed: int, first: int) -> None:
    """After forcing one state out, the other costs are those of the smaller problem with its refitted readout."""
    W, S, live = random_problem(seed)
    factors = np.where(np.arange(4) == first, 1e-12, 1.0)[None]
    path = eliminate.eliminate(eliminate.problem(W, S, live), states=factors)
    assert path.order[0, 0] == first
    scaled = eliminate.problem(W, S, live)
    rest = np.repeat(np.arange(4) != first, 2)
    keep = np.arange(4)[None] != first
    refitted = eliminate.refit(scaled, keep)[..., rest] * scaled.scale[:, None, rest]
    small = replace(scaled, W=refitted, S=scaled.S[:, rest][:, :, rest], scale=scaled.scale[:, rest], live=live[:, :3])
    again = eliminate.eliminate(small)
    np.testing.assert_array_equal(np.delete(np.arange(4), first)[again.order[0]], path.order[0, 1:])
    np.testing.assert_allclose(again.cost[0], path.cost[0, 1:], rtol=1e-7)


@fixed
@given(seed=st.integers(0, 10_000))
def test_channels_go_at_once_as_they_would_alone(seed: int) -> None:
    W, S, live = random_problem(seed, groups=5, outputs=1, states=6)
    live[0, 2] = live[3, :2] = False
    keep = np.random.default_rng(seed).random(live.shape) < 0.5
    together = eliminate.problem(W, S, live)
    path, refitted = eliminate.eliminate(together), eliminate.refit(together, keep)
    for g in range(5):
        alone = eliminate.problem(W[g : g + 1], S[g : g + 1], live[g : g + 1])
        one = eliminate.eliminate(alone)
        np.testing.assert_array_equal(one.order[0], path.order[g])
        np.testing.assert_allclose(one.cost[0], path.cost[g], rtol=1e-9)
        np.testing.assert_allclose(eliminate.refit(alone, keep[g : g + 1])[0], refitted[g], rtol=1e-9, atol=1e-12)


def test_more_outputs_than_coordinates_change_nothing() -> None:
    W, S, live = random_problem(0, outputs=40)
    gram = np.linalg.cholesky(W[0].T @ W[0]).T[None]
    tall, square = (eliminate.eliminate(eliminate.problem(w, S, live)) for w in (W, gram))
    np.testing.assert_array_equal(tall.order, square.order)
    np.testing.assert_allclose(tall.cost, square.cost, rtol=1e-9)


def test_padding_and_silent_states_go_first_and_cost_nothing() -> None:
    W, S, live = random_problem(0)
    live[0, 3] = False
    S[0, 2:4] = S[0, :, 2:4] = 0
    path = eliminate.eliminate(eliminate.problem(W, S, live))
    assert path.order[0, :2].tolist() == [3, 1]
    assert not path.cost[0, :2].any() and path.cost[0, 2:].all()


def test_ranked_by_its_cost_no_state_goes_before_its_turn() -> None:
    path = eliminate.Path(np.array([[2, 0, 1]]), np.array([[3.0, 1.0, 4.0]]))
    assert path.by_state().tolist() == [[3.0, 4.0, 3.0]]


@every_kind
def test_the_readout_matrix_holds_all_of_C(kind: str) -> None:
    system = KINDS[kind].system()
    np.testing.assert_allclose(readouts(readout_matrix(system), system), system.C, rtol=1e-15)


@every_kind
@pytest.mark.parametrize("horizon", [1, 7])
def test_white_moments_are_those_of_the_impulse_responses(kind: str, horizon: int) -> None:
    """For white inputs E[y^2] is the sum of the squared responses; all coordinates enter by random readouts."""
    system = KINDS[kind].system(states=3, features=3)
    rng = np.random.default_rng(0)
    system = replace(system, C=rng.normal(size=system.C.shape) + 1j * rng.normal(size=system.C.shape), D=0 * system.D)
    found = energy(readout_matrix(system), white_moments(system, horizon)).ravel()
    np.testing.assert_allclose(found, response_energy(system, horizon), rtol=1e-6)


def response_energy(system: System, horizon: int) -> np.ndarray:
    """Sum over inputs and lags of the squared response (features,), each direction seeing `horizon` inputs."""
    features = len(system.D)
    total = np.zeros(features)
    for i in range(features):
        u = np.zeros((2 * horizon + 3, features))
        u[horizon + 1, i] = 1.0
        y = simulate(system, u)
        past = np.arange(len(u)) - (horizon + 1)
        seen = (past >= 0) & (past < horizon)
        if len(system.C) > 1:
            seen |= (-past >= system.backward_lag) & (-past < horizon + system.backward_lag)
        total += (y[seen] ** 2).sum(axis=0)
    return total


@every_kind
def test_an_infinite_horizon_is_the_limit_of_long_ones(kind: str) -> None:
    system = KINDS[kind].system()
    np.testing.assert_allclose(white_moments(system, np.inf), white_moments(system, 10**8), rtol=1e-9, atol=1e-12)


def test_a_pole_on_the_unit_circle_adds_up() -> None:
    one = np.ones((1, 1, 1), complex)
    system = System(lam=one[0], B=one, C=one[None], D=np.zeros(1), gain=1.0)
    np.testing.assert_allclose(white_moments(system, 9), [[[9.0, 0.0], [0.0, 0.0]]])
    zero = replace(system, lam=0 * one[0])
    np.testing.assert_allclose(white_moments(zero, 9), [[[1.0, 0.0], [0.0, 0.0]]])


def test_mixing_matches_traces() -> None:
    S, white = np.eye(2)[None] * 3, np.diag([1.0, 3.0])[None]
    np.testing.assert_allclose(mixed(S, white, 0.5), [np.diag([3.75, 5.25])])
