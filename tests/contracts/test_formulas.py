"""Each criterion against its published formula, written out for two states of one layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from last_cli.base import registry
from last_cli.families.lti.system import System, finite_energy
from last_cli.pruning.criteria.criterion import scores

# Two states with |lam| = 0.5 and 0.9, |B| = 5 and 1, and readouts with |C| = 2 and 1.
LAM = np.array([[0.3 + 0.4j, -0.9j]])
B = np.array([[[3, 4j], [0.6, 0.8]]])
FORWARD = np.array([[[2j, 0], [0, 1]]])
BACKWARD = np.array([[[0, 3], [4, 0]]])
UNI = System(LAM, B, FORWARD[None], np.zeros(2), gain=2.0)
BI = replace(UNI, C=np.stack([FORWARD, BACKWARD]))
HINF = np.array([2 * 5 / 0.5, 1 * 1 / 0.1])
ENERGY = np.array([(2 * 5) ** 2 / 0.75, 1 / 0.19])
# The readouts' norms are averaged: (2 + 4)/2 and (1 + 3)/2.
HINF_BI = np.array([3 * 5 / 0.5, 2 * 1 / 0.1])


def score(criterion: str, system: System, seed: int = 0, **needed: Any) -> np.ndarray:
    available = {"system": system, "live": system.live_mask, "rng": np.random.default_rng(seed), **needed}
    return scores(registry.get("criteria", criterion), system.live_mask, available)[0]


def single(system: System) -> System:
    return replace(system, lam=LAM.astype(np.complex64), B=B.astype(np.complex64), C=system.C.astype(np.complex64))


def tail(energy: np.ndarray) -> list[float]:
    """Tail shares where the first state is the larger."""
    return [1, energy[1] / energy.sum()]


@pytest.mark.parametrize(("system", "norms"), [(UNI, HINF), (BI, HINF_BI)])
def test_hinf_is_the_squared_norm(system: System, norms: np.ndarray) -> None:
    np.testing.assert_allclose(score("hinf", system), norms**2)


@pytest.mark.parametrize(("system", "norms"), [(UNI, HINF), (BI, HINF_BI)])
def test_last_is_the_tail_share_of_squared_norms(system: System, norms: np.ndarray) -> None:
    np.testing.assert_allclose(score("last", system), tail(norms**2))


def test_aire_is_the_tail_share_of_impulse_energies() -> None:
    np.testing.assert_allclose(score("aire", UNI), tail(ENERGY))


@pytest.mark.parametrize("horizon", [1, 2, 7])
def test_energy_sums_the_responses_of_its_horizon(horizon: int) -> None:
    t = np.arange(horizon)
    energy = np.array([(2 * 5) ** 2 * (0.25**t).sum(), (0.81**t).sum()])
    np.testing.assert_allclose(score("energy", UNI, horizon=horizon), tail(energy))


def test_energy_over_an_endless_horizon_is_aire() -> None:
    np.testing.assert_allclose(score("energy", BI, horizon=10**9), score("aire", BI))


def test_energy_does_not_cancel_near_the_unit_circle() -> None:
    slow = replace(UNI, lam=np.array([[1.0, -1 + 2.0**-40]], complex))
    np.testing.assert_allclose(finite_energy(slow, 1000)[0], [100 * 1000, 1000], rtol=1e-8)
    np.testing.assert_allclose(finite_energy(replace(UNI, lam=0 * LAM), 1000)[0], [100, 1])
    np.testing.assert_allclose(finite_energy(replace(UNI, lam=2 + 0 * LAM), 3)[0], [100 * 21, 21])


def test_gauss_newton_is_the_sensitivity_itself() -> None:
    np.testing.assert_array_equal(score("gn", UNI, sensitivity=np.array([[3.0, 0.5]])), [3, 0.5])


def test_magnitude_is_the_product_of_the_parameters_sizes() -> None:
    np.testing.assert_allclose(score("magnitude", UNI), [0.5 * 5 * 2, 0.9 * 1 * 1])
    np.testing.assert_allclose(score("magnitude", BI), [0.5 * 5 * 3, 0.9 * 1 * 2])


def test_the_reference_squares_one_readout_as_the_paper_does() -> None:
    np.testing.assert_allclose(score("last-reference", single(UNI)), tail(HINF**2), rtol=1e-5)


def test_the_reference_has_two_readouts_unsquared_and_halved_again() -> None:
    energy = np.array([(2 + 4) / 4 * (5 / 0.5) ** 2, (1 + 3) / 4 * (1 / 0.1) ** 2])
    np.testing.assert_allclose(score("last-reference", single(BI)), tail(energy), rtol=1e-5)


def test_the_reference_caps_the_norm_by_its_epsilon() -> None:
    slow = replace(single(UNI), lam=np.array([[0.5, 1 - 2.0**-20]], np.complex64))
    energy = np.array([(2 * 5 / 0.5) ** 2, 1 / (2.0**-40 + 1e-8)])
    np.testing.assert_allclose(score("last-reference", slow), tail(energy[::-1])[::-1], rtol=1e-3)
    exact = np.array([(2 * 5 / 0.5) ** 2, 2.0**40])
    np.testing.assert_allclose(score("last", replace(slow, B=B, C=UNI.C)), tail(exact[::-1])[::-1], rtol=1e-6)


def test_random_is_uniform_and_fixed_by_its_generator() -> None:
    wide = System(np.zeros((1, 5000)) + 0j, np.zeros((1, 5000, 1)), np.zeros((1, 1, 1, 5000)), np.zeros(1), 1.0)
    one, same, other = (score("random", wide, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not (one == other).any()
    np.testing.assert_allclose(np.quantile(one, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.03)


def test_only_the_reference_computes_in_single_precision_and_keeps_ties() -> None:
    for name in registry.names("criteria"):
        criterion = registry.get("criteria", name)
        assert (criterion.dtype is np.float32, criterion.ties == "stay") == (name == "last-reference",) * 2
