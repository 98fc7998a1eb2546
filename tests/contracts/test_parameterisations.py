"""Each family's leaves, read by hand: the published parameterisations, number by number."""

from __future__ import annotations

import numpy as np
import pytest

from last_cli.base import registry
from last_cli.base.errors import CheckpointError
from last_cli.families.lti.config import ModelConfig

S5_LEAVES = {
    "Lambda_re": np.array([-0.5, -0.2]),
    "Lambda_im": np.array([3.0, -1.0]),
    "log_step": np.log([[0.1], [0.2]]),
    "B": np.arange(12.0).reshape(2, 3, 2),
    "D": np.array([1.0, 2.0, 3.0]),
}
READOUT = np.arange(12.0).reshape(3, 2, 2)
A = np.array([-0.5 + 3j, -0.2 - 1j])
LAM = np.exp(A * [0.1, 0.2])
BBAR = ((LAM - 1) / A)[:, None] * (S5_LEAVES["B"][..., 0] + 1j * S5_LEAVES["B"][..., 1])


def system(family: str, leaves: dict, **options):
    return registry.get("families", family).system(leaves, ModelConfig(**options))


def shape(family: str, **shapes: tuple[int, ...]):
    return registry.get("families", family).sizes(shapes)


def complex_of(pair: np.ndarray) -> np.ndarray:
    return pair[..., 0] + 1j * pair[..., 1]


def test_s5_is_one_system_discretised_by_zero_order_hold() -> None:
    found = system("s5", S5_LEAVES | {"C": READOUT})
    np.testing.assert_allclose(found.lam, LAM[None])
    np.testing.assert_allclose(found.B, BBAR[None])
    np.testing.assert_array_equal(found.C, complex_of(READOUT)[None, None])
    np.testing.assert_array_equal(found.D, [1, 2, 3])
    assert (found.gain, found.backward_lag, found.live) == (2.0, 0, None)


def test_s5_bilinear() -> None:
    found = system("s5", S5_LEAVES | {"C": READOUT}, discretization="bilinear")
    half = A * np.array([0.1, 0.2]) / 2
    np.testing.assert_allclose(found.lam[0], (1 + half) / (1 - half))
    np.testing.assert_allclose(found.B[0], (np.array([0.1, 0.2]) / (1 - half))[:, None] * complex_of(S5_LEAVES["B"]))


def test_s5_without_conjugate_pairs_has_gain_one() -> None:
    assert system("s5", S5_LEAVES | {"C": READOUT}, conj_sym=False).gain == 1.0


def test_s5_clips_poles_only_when_it_was_trained_so() -> None:
    leaves = S5_LEAVES | {"C": READOUT, "Lambda_re": np.array([0.5, -0.2])}
    assert abs(system("s5", leaves).lam[0, 0]) > 1
    clipped = system("s5", leaves, clip_eigs=True).lam[0]
    np.testing.assert_allclose(clipped[0], np.exp((-1e-4 + 3j) * 0.1))
    np.testing.assert_allclose(clipped[1], LAM[1])


def test_s5_steps_are_rescaled() -> None:
    np.testing.assert_allclose(system("s5", S5_LEAVES | {"C": READOUT}, step_rescale=2.0).lam[0], LAM**2)


def test_s5_reads_two_directions_from_two_leaves_or_one() -> None:
    other = -READOUT
    two = system("s5", S5_LEAVES | {"C1": READOUT, "C2": other})
    one = system("s5", S5_LEAVES | {"C": np.concatenate([READOUT, other], axis=1)})
    np.testing.assert_array_equal(two.C, np.stack([complex_of(READOUT), complex_of(other)])[:, None])
    np.testing.assert_array_equal(one.C, two.C)


S5_SHAPES = {"Lambda_re": (6,), "Lambda_im": (6,), "B": (6, 4, 2), "D": (4,), "log_step": (6, 1)}


@pytest.mark.parametrize(
    ("readouts", "directions"),
    [({"C": (4, 6, 2)}, 1), ({"C": (4, 12, 2)}, 2), ({"C1": (4, 6, 2), "C2": (4, 6, 2)}, 2)],
)
def test_s5_sizes(readouts: dict, directions: int) -> None:
    found = shape("s5", **S5_SHAPES, **readouts)
    assert (found.states, found.groups, found.features, found.directions) == (6, 1, 4, directions)


S4D_LEAVES = {
    "A_re": np.array([[-0.5, 0.3], [-0.2, -0.1], [-1.0, -2.0]]),
    "A_im": np.array([[3.0, 1.0], [0.0, -1.0], [2.0, 5.0]]),
    "C": np.arange(12.0).reshape(3, 2, 2),
    "D": np.array([[1.0, 2.0]]),
    "log_step": np.log([[0.1, 0.2]]),
}


def test_s4d_is_a_system_a_channel_with_clipped_poles_and_no_pairs() -> None:
    found = system("s4d", S4D_LEAVES)
    poles = (np.minimum(S4D_LEAVES["A_re"], -1e-4) + 1j * S4D_LEAVES["A_im"]).T
    lam = np.exp(poles * np.array([[0.1], [0.2]]))
    np.testing.assert_allclose(found.lam, lam)
    np.testing.assert_allclose(found.B[..., 0], (lam - 1) / poles)
    np.testing.assert_array_equal(found.C[0, :, 0], complex_of(S4D_LEAVES["C"]).T)
    np.testing.assert_array_equal(found.D, [1, 2])
    assert (found.gain, found.C.shape, found.B.shape) == (1.0, (1, 2, 1, 3), (2, 3, 1))


def test_s4d_ignores_the_stored_input_matrix() -> None:
    stored = S4D_LEAVES | {"B_re": np.full((3, 2), 7.0), "B_im": np.full((3, 2), 7.0)}
    np.testing.assert_array_equal(system("s4d", stored).B, system("s4d", S4D_LEAVES).B)


@pytest.mark.parametrize("extra", [{}, {"B_re": (6, 4), "B_im": (6, 4)}])
def test_s4d_sizes(extra: dict) -> None:
    sizes = {"A_re": (6, 4), "A_im": (6, 4), "C": (6, 4, 2), "D": (1, 4), "log_step": (1, 4)}
    found = shape("s4d", **sizes, **extra)
    assert (found.states, found.groups, found.features, found.directions) == (6, 4, 4, 1)
    with pytest.raises(CheckpointError, match="A_re has 4 channels but D has 5"):
        shape("s4d", **(sizes | {"D": (1, 5)}))
    with pytest.raises(CheckpointError, match="A_re has 6 states but C has 5"):
        shape("s4d", **(sizes | {"C": (5, 4, 2)}))


PAIRS_LEAVES = {
    "log_A_real": np.log([[0.5, 0.2], [1.0, 2.0]]),
    "A_imag": np.array([[3.0, 0.0], [1.0, 5.0]]),
    "C": np.arange(8.0).reshape(2, 2, 2),
    "D": np.array([1.0, 2.0]),
    "log_dt": np.log([0.1, 0.2]),
}


def test_s4d_pairs_stand_for_conjugate_pairs_left_of_the_axis() -> None:
    found = system("s4d-pairs", PAIRS_LEAVES)
    poles = np.array([[-0.5 + 3j, -0.2], [-1 + 1j, -2 + 5j]])
    lam = np.exp(poles * np.array([[0.1], [0.2]]))
    np.testing.assert_allclose(found.lam, lam)
    np.testing.assert_allclose(found.B[..., 0], (lam - 1) / poles)
    np.testing.assert_array_equal(found.C[0, :, 0], complex_of(PAIRS_LEAVES["C"]))
    assert found.gain == 2.0


def test_s4d_pairs_of_two_directions_begin_the_second_one_step_later() -> None:
    found = system("s4d-pairs", PAIRS_LEAVES | {"C": np.stack([PAIRS_LEAVES["C"], -PAIRS_LEAVES["C"]])})
    assert found.C.shape == (2, 2, 1, 2)
    np.testing.assert_array_equal(found.C[1], -found.C[0])
    assert found.backward_lag == 1


def test_s4d_pairs_sizes() -> None:
    sizes = {"log_A_real": (4, 6), "A_imag": (4, 6), "D": (4,), "log_dt": (4,)}
    for readout, directions in (((4, 6, 2), 1), ((1, 4, 6, 2), 1), ((2, 4, 6, 2), 2)):
        found = shape("s4d-pairs", **sizes, C=readout)
        assert (found.states, found.groups, found.features, found.directions) == (6, 4, 4, directions)
    with pytest.raises(CheckpointError, match=r"C has shape \(3, 4, 6, 2\)"):
        shape("s4d-pairs", **sizes, C=(3, 4, 6, 2))
    with pytest.raises(CheckpointError, match="log_A_real has 6 states but C has 5"):
        shape("s4d-pairs", **sizes, C=(4, 5, 2))
