"""Tail shares, and scores with padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from last_cli.pruning.criteria.criterion import Criterion, as_is, scores, tail_share

energies = hnp.arrays(float, st.integers(1, 12), elements=st.floats(0, 1e6, allow_subnormal=False))
fixed = settings(derandomize=True, deadline=None, max_examples=30)


def shares(*energy: float) -> list[float]:
    return tail_share(np.array(energy, float)).tolist()


def test_each_energy_is_divided_by_the_sum_down_to_it() -> None:
    assert shares(4, 2, 1, 1) == [1, 2 / 6, 1 / 7, 1 / 8]
    assert shares(1, 4, 2) == [1 / 7, 1, 2 / 6]


def test_zeros_score_zero_and_a_layer_of_zeros_is_no_division() -> None:
    assert shares(0, 3, 0) == [0, 1, 0]
    assert shares(0, 0) == [0, 0]


def test_an_infinite_energy_scores_one_and_leaves_nothing_to_the_others() -> None:
    assert shares(2, np.inf, 1) == [0, 1, 0]


def test_one_state_scores_one_whatever_its_energy() -> None:
    assert shares(1e-30) == shares(1e30) == [1]


@fixed
@given(energies)
def test_shares_lie_between_zero_and_one_and_the_largest_is_one(energy: np.ndarray) -> None:
    found = tail_share(energy)
    assert ((found >= 0) & (found <= 1)).all()
    assert not energy.any() or found[np.argmax(energy)] == 1


@fixed
@given(energies)
def test_shares_rank_as_the_energies_do(energy: np.ndarray) -> None:
    order = np.argsort(-energy, kind="stable")
    assert (np.diff(tail_share(energy)[order]) <= 0).all()


@fixed
@given(energies, st.floats(1e-3, 1e3))
def test_shares_do_not_depend_on_a_layers_scale(energy: np.ndarray, scale: float) -> None:
    np.testing.assert_allclose(tail_share(energy * scale), tail_share(energy), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize(("normalise", "wanted"), [(as_is, [[3, 0], [1, 0]]), (tail_share, [[1, 0], [1 / 4, 0]])])
def test_padding_scores_zero_and_stays_out_of_the_normalisation(normalise, wanted: list) -> None:
    live = np.array([[True, False], [True, False]])
    loud = np.array([[3.0, 100.0], [1.0, 100.0]])
    criterion = Criterion("test", "", lambda: loud, needs=(), normalise=normalise)
    assert scores(criterion, live, {}).tolist() == wanted


def test_scores_have_the_criterions_precision() -> None:
    criterion = Criterion("test", "", lambda live: np.ones(live.shape), needs=("live",), dtype=np.float32)
    live = np.ones((1, 2), bool)
    assert scores(criterion, live, {"live": live}).dtype == np.float32


def test_a_criterion_is_given_what_it_needs_and_no_more() -> None:
    criterion = Criterion("test", "", lambda **given: np.full((1, 2), float(len(given))), needs=("live", "horizon"))
    live = np.ones((1, 2), bool)
    available = {"live": live, "horizon": 3, "system": None}
    assert scores(criterion, live, available).tolist() == [[2, 2]]
    with pytest.raises(KeyError):
        scores(criterion, live, {"live": live})
