"""Which states stay: exact counts, stable ties, nested choices."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from random_layers import fixed

from last_cli.pruning.select import Rule, equal_counts, indices, kept_count, rectangular, select, shape_of

# Few different values, so that there are many ties.
few_values = st.integers(0, 4).map(float)
ratios = st.floats(0, 1, exclude_max=True)
ties_ = st.sampled_from([None, "stay", "go"])


@st.composite
def layers(draw: st.DrawFn, rows: int | None = None, padding: bool = True) -> tuple[list, list]:
    """Scores and live masks of one to four layers, different numbers of them live, but at least one a layer."""
    scores, live = [], []
    shape = (rows or draw(st.integers(1, 3)), draw(st.integers(1, 6)))
    for _ in range(draw(st.integers(1, 4))):
        scores.append(draw(hnp.arrays(float, shape, elements=few_values)))
        mask = draw(hnp.arrays(bool, shape)) if padding else np.ones(shape, bool)
        mask[0, 0] = True
        live.append(mask)
    return scores, live


def total(masks: list[np.ndarray]) -> int:
    return sum(int(mask.sum()) for mask in masks)


def of(*rows: list[float]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Layers of one row each, all live."""
    scores = [np.array([row], float) for row in rows]
    return scores, [np.ones(s.shape, bool) for s in scores]


@pytest.mark.parametrize(
    ("ratio", "kept"), [(0.0, 100), (0.1, 90), (0.29, 71), (0.33, 67), (0.57, 43), (0.58, 42), (0.999, 0)]
)
def test_of_a_hundred_states_exactly_the_floored_number_stays(ratio: float, kept: int) -> None:
    assert kept_count(100, ratio) == kept
    scores, live = of(*np.random.default_rng(0).random((4, 25)).tolist())
    assert total(select(scores, live, ratio, min_states=0)) == kept


def test_every_ratio_of_whole_percents_floors_as_exact_arithmetic_does() -> None:
    for states in (1, 7, 100, 128, 1024, 24_576):
        for percent in range(100):
            assert kept_count(states, percent / 100) == math.floor(Fraction(states * (100 - percent), 100))


@fixed
@given(layers(), ratios, st.integers(0, 3))
def test_the_count_is_exact_unless_the_guard_keeps_more(drawn: tuple[list, list], ratio: float, guard: int) -> None:
    scores, live = drawn
    keep = select(scores, live, ratio, min_states=guard)
    guarded = sum(min(guard, int(mask.sum())) for mask in live)
    assert total(keep) == max(kept_count(total(live), ratio), guarded)
    for kept, mask in zip(keep, live, strict=True):
        assert kept.sum() >= min(guard, mask.sum())


@fixed
@given(layers(), ratios)
def test_what_stays_scores_at_least_as_much_as_what_goes(drawn: tuple[list, list], ratio: float) -> None:
    scores, live = drawn
    keep = select(scores, live, ratio, min_states=0)
    kept = np.concatenate([s[k] for s, k in zip(scores, keep, strict=True)])
    gone = np.concatenate([s[m & ~k] for s, m, k in zip(scores, live, keep, strict=True)])
    assert not kept.size or not gone.size or kept.min() >= gone.max()


@fixed
@given(layers(), ratios, ratios, st.sampled_from(["global", "layer"]), st.integers(0, 2), ties_)
def test_a_larger_ratio_keeps_a_subset(drawn, one: float, other: float, scope, guard: int, ties) -> None:
    scores, live = drawn
    low, high = sorted((one, other))
    larger = select(scores, live, low, scope=scope, min_states=guard, ties=ties)
    smaller = select(scores, live, high, scope=scope, min_states=guard, ties=ties)
    assert not any((s & ~m).any() for s, m in zip(smaller, larger, strict=True))


@fixed
@given(layers(), ratios, st.sampled_from(["global", "layer"]), ties_)
def test_padding_is_never_kept_and_never_counted(drawn: tuple[list, list], ratio: float, scope, ties) -> None:
    scores, live = drawn
    keep = select(scores, live, ratio, scope=scope, ties=ties)
    assert not any((k & ~m).any() for k, m in zip(keep, live, strict=True))
    loud = [np.where(m, s, 1e9) for s, m in zip(scores, live, strict=True)]
    for kept, same in zip(keep, select(loud, live, ratio, scope=scope, ties=ties), strict=True):
        np.testing.assert_array_equal(kept, same)


def test_among_equal_scores_the_earlier_layer_and_the_lower_index_stay() -> None:
    scores, live = of([1, 1, 1], [1, 1, 1])
    assert select(scores, live, 0.5, min_states=0)[0].all()
    assert not select(scores, live, 0.5, min_states=0)[1].any()
    assert [m.tolist() for m in select(scores, live, 0.4)] == [[[True, True, False]], [[True, False, False]]]


def test_the_guard_keeps_the_best_states_of_a_layer_that_would_be_emptied() -> None:
    scores, live = of([9, 8, 7], [1, 3, 2])
    assert [m.tolist() for m in select(scores, live, 0.5, min_states=0)] == [[[True] * 3], [[False] * 3]]
    assert [m.tolist() for m in select(scores, live, 0.5)] == [[[True, True, False]], [[False, True, False]]]
    assert [m.tolist() for m in select(scores, live, 0.5, min_states=2)] == [
        [[True, True, False]],
        [[False, True, True]],
    ]


def test_scope_layer_removes_the_ratio_in_each_layer() -> None:
    scores, live = of([9, 8, 7, 6], [1, 2, 3, 4])
    assert [m.tolist() for m in select(scores, live, 0.5, scope="layer")] == [
        [[True, True, False, False]],
        [[False, False, True, True]],
    ]


def released_masks(scores: np.ndarray, percent: int) -> np.ndarray:
    """The published code's rule, word by word."""
    flat = np.sort(scores.ravel())
    remaining = max(int(flat.size * (100 - percent) / 100), 1)
    return scores >= flat[-remaining]


@fixed
@given(hnp.arrays(float, (3, 8), elements=few_values), st.integers(0, 99))
def test_with_ties_the_choice_is_the_released_codes(scores: np.ndarray, percent: int) -> None:
    rows = [row[None] for row in scores]
    found = select(rows, [np.ones(r.shape, bool) for r in rows], percent / 100, min_states=0, ties="stay")
    np.testing.assert_array_equal(np.concatenate(found), released_masks(scores, percent))


channels = st.integers(2, 4).flatmap(lambda rows: layers(rows=rows, padding=False))


@fixed
@given(channels, ratios, st.sampled_from(["global", "layer"]), st.integers(0, 5))
def test_rectangular_keeps_as_many_in_every_channel_and_each_its_best(drawn, ratio: float, scope, guard: int) -> None:
    scores, live = drawn
    for score, mask in zip(scores, rectangular(scores, live, ratio, scope=scope, min_states=guard), strict=True):
        counts = mask.sum(axis=1)
        assert (counts == counts[0]).all() and mask.sum() >= min(guard, mask.size)
        for row, kept in zip(score, mask, strict=True):
            assert kept.all() or not kept.any() or row[kept].min() >= row[~kept].max()


@fixed
@given(channels, ratios, st.sampled_from(["global", "layer"]), st.integers(0, 5))
def test_rectangular_keeps_the_largest_multiple_of_the_channels(drawn, ratio: float, scope, guard: int) -> None:
    scores, live = drawn
    masks, rows = rectangular(scores, live, ratio, scope=scope, min_states=guard), len(live[0])
    guarded = [rows * math.ceil(min(guard, mask.size) / rows) for mask in live]
    each = [kept_count(mask.size, ratio) // rows * rows for mask in live]
    if scope == "layer":
        assert [int(mask.sum()) for mask in masks] == [max(*pair) for pair in zip(each, guarded, strict=True)]
    else:
        assert total(masks) == max(kept_count(total(live), ratio) // rows * rows, sum(guarded))


@fixed
@given(layers(), ratios, ratios, st.sampled_from(["global", "layer"]), st.integers(0, 2))
def test_rectangular_keeps_a_subset_at_a_larger_ratio(drawn, one: float, other: float, scope, guard: int) -> None:
    scores, live = drawn
    low, high = sorted((one, other))
    larger, smaller = (rectangular(scores, live, r, scope=scope, min_states=guard) for r in (low, high))
    assert not any((s & ~m).any() for s, m in zip(smaller, larger, strict=True))


@fixed
@given(layers(rows=1), ratios, st.sampled_from(["global", "layer"]), st.integers(0, 2))
def test_rectangular_is_the_usual_choice_where_layers_are_one_group(drawn, ratio: float, scope, guard: int) -> None:
    scores, live = drawn
    pair = (function(scores, live, ratio, scope=scope, min_states=guard) for function in (rectangular, select))
    for mine, usual in zip(*pair, strict=True):
        np.testing.assert_array_equal(mine, usual)


def test_rectangular_keeps_no_padding_however_it_scores() -> None:
    scores, live = [np.array([[9.0, 2, 3], [1, 2, 3]])], [np.array([[False, True, True], [True, True, True]])]
    assert rectangular(scores, live, 0.2)[0].tolist() == [[False, True, True], [False, True, True]]
    live = [np.array([[False, False, True], [True, True, True]])]
    assert rectangular(scores, live, 0.25)[0].tolist() == [[False, False, True], [False, True, True]]
    live = [np.zeros((2, 3), bool)]
    assert not rectangular(scores, live, 0.0)[0].any()


def test_layers_keep_about_what_a_ranking_of_all_states_leaves_them() -> None:
    high, low = np.arange(8.0).reshape(2, 4) + 5, np.arange(8.0).reshape(2, 4)
    live = [np.ones((2, 4), bool)] * 2
    ragged, even = (function([high, low], live, 0.5) for function in (select, rectangular))
    assert [int(mask.sum()) for mask in ragged] == [7, 1]
    assert [mask.sum(axis=1).tolist() for mask in even] == [[3, 3], [1, 1]]


def test_the_first_states_of_a_layer_count_as_its_best_one() -> None:
    scores = [np.array([[9.0, 8, 7], [9, 8, 7]]), np.array([[10.0, 1, 1], [0, 0, 0]])]
    live = [np.ones((2, 3), bool)] * 2
    assert [int(m.sum()) for m in rectangular(scores, live, 0.5, min_states=0)] == [4, 2]


def test_where_every_group_keeps_as_many_rounding_goes_to_the_layers_that_lost_most() -> None:
    scores = [np.arange(9.0).reshape(3, 3), np.arange(9.0).reshape(3, 3) + 0.5]
    live = [np.ones((3, 3), bool)] * 2
    masks = equal_counts(scores, live, 0.5, Rule(even=True))
    assert [mask.sum(axis=1).tolist() for mask in masks] == [[1, 1, 1], [2, 2, 2]]


def test_a_choice_says_its_shape() -> None:
    even, odd = np.array([[True, False], [False, True]]), np.array([[True, True], [False, True]])
    assert (shape_of([even, odd]), shape_of([even, np.ones((2, 3), bool)])) == ("ragged", "rectangular")


def test_indices_are_in_order_and_padded_with_minus_one() -> None:
    keep = np.array([[True, False, True, True], [False, True, False, False], [False] * 4])
    assert indices(keep).tolist() == [[0, 2, 3], [1, -1, -1], [-1, -1, -1]]


@fixed
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2)))
def test_indices_name_exactly_the_kept_states(keep: np.ndarray) -> None:
    found = indices(keep)
    assert found.shape == (len(keep), max(1, keep.sum(axis=1).max()))
    for row, mask in zip(found, keep, strict=True):
        assert row[row >= 0].tolist() == np.flatnonzero(mask).tolist()
        assert (row[mask.sum() :] == -1).all()
