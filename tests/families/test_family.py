"""Taking states from leaves of every layout, and telling padding from states."""

from __future__ import annotations

import numpy as np
import pytest

from last_cli.base import registry
from last_cli.base.errors import CheckpointError
from last_cli.families.family import StateLeaf, agree, expect_ndim, live_states, take


def one_system(*states: int) -> np.ndarray:
    return np.array([states])


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_states_are_taken_along_their_axis(axis: int) -> None:
    leaf = np.arange(4 * 4 * 4).reshape(4, 4, 4)
    found = take(leaf, StateLeaf(axis), one_system(2, 0), 4)
    np.testing.assert_array_equal(found, leaf.take([2, 0], axis=axis))


def test_a_readout_of_two_directions_is_taken_in_both_halves() -> None:
    leaf = np.arange(2 * 6 * 2).reshape(2, 6, 2)
    np.testing.assert_array_equal(take(leaf, StateLeaf(-2), one_system(0, 2), 3), leaf[:, [0, 2, 3, 5]])


def test_every_channel_takes_its_own_states_and_minus_one_gives_zeros() -> None:
    leaf = np.arange(1.0, 7.0, dtype=np.float32).reshape(3, 2)  # (states, channels)
    found = take(leaf, StateLeaf(-2, -1), np.array([[2, 0], [1, -1]]), 3)
    np.testing.assert_array_equal(found, [[5, 4], [1, 0]])
    assert found.dtype == np.float32


def test_axes_beside_channel_and_state_are_left_in_place() -> None:
    leaf = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)  # (directions, channels, states, parts)
    index = np.array([[3, 1], [0, -1], [2, 3]])
    found = take(leaf, StateLeaf(-2, -3), index, 4)
    assert found.shape == (2, 3, 2, 2)
    for channel, row in enumerate(index):
        for place, state in enumerate(row):
            np.testing.assert_array_equal(found[:, channel, place], leaf[:, channel, state] if state >= 0 else 0)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16", "int8"])
def test_types_and_bits_are_kept(dtype: str) -> None:
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    leaf = np.frombuffer(np.arange(12 * kind.itemsize, dtype=np.uint8).tobytes(), kind).reshape(6, 2)
    index = np.array([[5, 0], [3, 3]])
    found = take(leaf, StateLeaf(-2, -1), index, 6)
    assert found.dtype == kind
    assert found.tobytes() == np.array([leaf[5, 0], leaf[3, 1], leaf[0, 0], leaf[3, 1]], kind).tobytes()


def test_a_state_is_not_live_where_every_stored_number_of_b_and_c_is_zero() -> None:
    family = registry.get("families", "s4d-pairs")
    arrays = {name: np.zeros((1, 4)) for name in ("log_A_real", "A_imag")} | {"C": np.zeros((1, 4, 2))}
    arrays["log_A_real"][0, 0] = arrays["A_imag"][0, 1] = arrays["C"][0, 2, 1] = arrays["C"][0, 3, 0] = 1
    assert np.asarray(live_states(family, arrays)).tolist() == [[False, False, True, True]]


def test_families_of_one_system_a_layer_have_no_padding() -> None:
    assert live_states(registry.get("families", "s5"), {"Lambda_re": np.zeros(3)}) is None


def test_sizes_that_differ_are_named() -> None:
    assert agree("states", {"A": 3, "B": 3}) == 3
    with pytest.raises(CheckpointError, match=r"^A has 3 states but C has 5$"):
        agree("states", {"A": 3, "B": 3, "C": 5})


def test_a_wrong_number_of_axes_is_named() -> None:
    expect_ndim({"C": (1, 2, 3)}, "C", "(H, N, 2)", (3, 4))
    with pytest.raises(CheckpointError, match=r"C has shape \(1, 2\), expected \(H, N, 2\)"):
        expect_ndim({"C": (1, 2)}, "C", "(H, N, 2)", (3, 4))
