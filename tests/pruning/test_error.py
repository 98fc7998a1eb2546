"""What is guaranteed of a reduced layer, against dense grids and simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_layers import KINDS, simulate

from last_cli.families.lti.system import System, gain_bound
from last_cli.pruning.error import difference, hinf_interval

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def responses(system: System, w: np.ndarray) -> np.ndarray:
    """Transfer matrices at frequencies w, by the Fourier transform of simulated impulse responses."""
    features, half = len(system.D), 400
    quiet = replace(system, D=0 * system.D)
    t = np.arange(2 * half + 1) - half
    columns = []
    for i in range(features):
        u = np.zeros((len(t), features))
        u[half, i] = 1
        columns.append(np.exp(-1j * w[:, None] * t) @ simulate(quiet, u))
    return np.stack(columns, axis=-1)


def damped(kind: str) -> System:
    """A layer whose impulse responses end within the simulation."""
    system = KINDS[kind].system(states=3, features=3)
    return replace(system, lam=0.95 * system.lam / np.maximum(1, np.abs(system.lam)))


@every_kind
def test_the_norm_lies_in_its_interval(kind: str) -> None:
    system = damped(kind)
    grid = np.linalg.norm(responses(system, np.linspace(0, np.pi, 501)), 2, axis=(1, 2)).max()
    lower, upper = hinf_interval(system, 0.01)
    assert grid <= upper * (1 + 1e-9)
    assert lower >= grid * (1 - 0.01) - 1e-9
    assert upper <= 1.01 * lower * (1 + 1e-9)
    assert upper <= gain_bound(system, system.live_mask) * 1.01


def test_no_difference_has_norm_zero() -> None:
    system = KINDS["s5-two-directions"].system()
    found = difference(system, system.C, None)
    assert (found.hinf, found.h2, found.calibration, found.growth) == ((0.0, 0.0), 0.0, None, 1.0)


def test_slow_poles_are_resolved() -> None:
    one = np.ones((1, 1, 1), complex)
    pole = (1 - 1e-6) * np.exp(1j)
    system = System(lam=one[0] * pole, B=one, C=one[None], D=np.zeros(1), gain=2.0)
    lower, upper = hinf_interval(system)
    assert lower <= 1e6 * (1 + 1e-5) and upper >= 1e6 * (1 - 1e-5) and upper <= 1.1 * lower


def test_an_unstable_layer_has_no_norm() -> None:
    system = KINDS["s4d"].system()
    found = difference(replace(system, lam=system.lam / np.abs(system.lam)), 0 * system.C, None)
    assert found.hinf == (np.inf, np.inf) and np.isinf(found.h2)


@every_kind
def test_without_work_the_interval_is_wider_and_still_true(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = KINDS[kind].system(states=12, features=8)
    lower, upper = hinf_interval(system, 0.01)
    monkeypatch.setattr("last_cli.pruning.error.INTERVAL_WORK", 0)
    wide = hinf_interval(system, 0.01)
    assert wide[0] <= upper and lower <= wide[1]
    assert wide[1] - wide[0] > upper - lower


def test_without_singular_values_the_interval_is_wider_and_still_true(monkeypatch: pytest.MonkeyPatch) -> None:
    system = KINDS["s5-two-directions"].system(states=12, features=8)
    lower, upper = hinf_interval(system, 0.01)
    monkeypatch.setattr("last_cli.pruning.error.SINGULAR_VALUE_WORK", 0)
    wide = hinf_interval(system, 0.01)
    assert wide[0] <= upper and lower <= wide[1] <= np.sqrt(8) * upper * 1.01
