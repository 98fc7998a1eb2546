"""Norms of states against what they claim to measure: frequency responses, impulse responses, measured gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_layers import KINDS, fixed, only, simulate

from last_cli.families.lti.system import (
    System,
    gain_bound,
    hinf_norm,
    impulse_energy,
    input_norm,
    output_norm,
    readout_norms,
)


def one_state(
    rng: np.random.Generator, magnitude: float, inputs: int = 3, outputs: int = 2, readouts: int = 1
) -> System:
    lam = magnitude * np.exp(1j * rng.uniform(-np.pi, np.pi, (1, 1)))
    B = rng.normal(size=(1, 1, inputs)) + 1j * rng.normal(size=(1, 1, inputs))
    C = rng.normal(size=(readouts, 1, outputs, 1)) + 1j * rng.normal(size=(readouts, 1, outputs, 1))
    return System(lam, B, C, np.zeros(outputs), gain=1.0)


def frequency_response(system: System, frequencies: np.ndarray) -> np.ndarray:
    """C (e^iw - lam)^-1 B for each frequency, (frequencies, outputs, inputs)."""
    resolvent = 1 / (np.exp(1j * frequencies) - system.lam[0, 0])
    return resolvent[:, None, None] * (system.C[0, 0] @ system.B[0])


def removed_part(system: System, removed: np.ndarray) -> System:
    return replace(only(system, removed), D=np.zeros_like(system.D))


def measured_gain(system: System, u: np.ndarray) -> float:
    return float(np.linalg.norm(simulate(system, u)) / np.linalg.norm(u))


@fixed
@given(st.integers(0, 10_000), st.floats(0.0, 0.9999))
def test_hinf_norm_is_the_peak_of_the_frequency_response(seed: int, magnitude: float) -> None:
    system = one_state(np.random.default_rng(seed), magnitude)
    width = 50 * (1 - magnitude)
    frequencies = np.angle(system.lam[0, 0]) + np.linspace(-width, 1.01 * width, 4000)
    peak = np.linalg.norm(frequency_response(system, frequencies), ord=2, axis=(1, 2)).max()
    assert hinf_norm(system)[0, 0] == pytest.approx(peak, rel=1e-3)
    assert hinf_norm(system)[0, 0] >= peak * (1 - 1e-9)


@fixed
@given(st.integers(0, 10_000), st.floats(0.0, 0.99))
def test_impulse_energy_is_the_sum_of_the_squared_impulse_response(seed: int, magnitude: float) -> None:
    system = one_state(np.random.default_rng(seed), magnitude)
    powers = system.lam[0, 0] ** np.arange(3000)
    response = powers[:, None, None] * (system.C[0, 0] @ system.B[0])
    assert impulse_energy(system)[0, 0] == pytest.approx((np.abs(response) ** 2).sum(), rel=1e-9)


def test_hinf_norm_keeps_its_digits_close_to_the_unit_circle() -> None:
    system = one_state(np.random.default_rng(0), 0.5)
    slow = replace(system, lam=np.array([[1 - 2.0**-40 + 0j]]))
    assert hinf_norm(slow)[0, 0] == pytest.approx(2.0**40 * (output_norm(slow) * input_norm(slow))[0, 0], rel=1e-12)


def test_two_readouts_count_with_the_mean_of_their_norms() -> None:
    system = one_state(np.random.default_rng(0), 0.7, readouts=2)
    forward, backward = (hinf_norm(replace(system, C=system.C[i : i + 1])) for i in range(2))
    np.testing.assert_allclose(hinf_norm(system), (forward + backward) / 2)
    np.testing.assert_allclose(output_norm(system), readout_norms(system).mean(axis=0))


def test_norms_at_the_unit_circle_are_infinite_and_beyond_it_what_the_formulas_give() -> None:
    system = one_state(np.random.default_rng(0), 0.5)
    on, beyond = (replace(system, lam=np.array([[lam + 0j]])) for lam in (1.0, 1.5))
    scale = (output_norm(system) * input_norm(system))[0, 0]
    assert np.isinf(hinf_norm(on)[0, 0]) and np.isinf(impulse_energy(on)[0, 0])
    assert hinf_norm(beyond)[0, 0] == pytest.approx(scale / 0.5)
    assert impulse_energy(beyond)[0, 0] == pytest.approx(scale**2 / (1 - 1.5**2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_no_input_is_amplified_beyond_the_bound_of_what_is_removed(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    system = KINDS[kind].system(seed, states=4, features=3)
    removed = rng.random(system.lam.shape) < 0.5
    removed[0, 0] = True
    bound, part = gain_bound(system, removed), removed_part(system, removed)
    assert 0 < bound < np.inf
    length, features = 200, len(system.D)
    loudest = np.unravel_index(np.argmax(np.where(removed, hinf_norm(system), 0)), removed.shape)
    waves = np.arange(length)[:, None] * np.angle(system.lam[loudest]) + rng.uniform(0, np.pi, features)
    for u in (rng.normal(size=(length, features)), np.cos(waves), np.ones((length, features))):
        assert measured_gain(part, u) <= bound * (1 + 1e-9)


@pytest.mark.parametrize(("gain", "readouts"), [(1.0, 1), (2.0, 1), (1.0, 2), (2.0, 2)])
def test_the_bound_is_reached_by_the_worst_input(gain: float, readouts: int) -> None:
    system = System(
        lam=np.array([[0.9 + 0j]]),
        B=np.array([[[1.5 + 0j]]]),
        C=np.full((readouts, 1, 1, 1), 0.5 + 0j),
        D=np.zeros(1),
        gain=gain,
    )
    bound = gain_bound(system, np.array([[True]]))
    assert bound == pytest.approx(gain * readouts * 0.75 / 0.1)
    assert measured_gain(system, np.ones((3000, 1))) == pytest.approx(bound, rel=0.01)


def test_the_bound_over_channels_is_that_of_the_loudest() -> None:
    system = KINDS["s4d"].system()
    rows = [np.arange(len(system.lam)) == channel for channel in range(len(system.lam))]
    bounds = [gain_bound(system, np.broadcast_to(row[:, None], system.lam.shape)) for row in rows]
    assert gain_bound(system, np.ones(system.lam.shape, bool)) == max(bounds)


def test_nothing_removed_has_a_bound_of_zero() -> None:
    system = KINDS["s5-two-directions"].system()
    assert gain_bound(system, np.zeros(system.lam.shape, bool)) == 0


@pytest.mark.parametrize("magnitude", [1.0, 1.2])
def test_the_bound_is_infinite_where_an_unstable_state_is_removed(magnitude: float) -> None:
    system = KINDS["s5-two-directions"].system()
    lam = system.lam.copy()
    lam[0, 2] = magnitude
    unstable, removed = replace(system, lam=lam), np.zeros(lam.shape, bool)
    removed[0, 2] = True
    assert gain_bound(unstable, removed) == np.inf
    assert gain_bound(unstable, ~removed) < np.inf


def test_every_state_is_live_unless_padding_is_marked() -> None:
    system = one_state(np.random.default_rng(0), 0.5)
    assert system.live_mask.tolist() == [[True]]
    assert replace(system, live=np.array([[False]])).live_mask.tolist() == [[False]]
