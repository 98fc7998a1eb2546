"""Discretisation against matrix exponentials, series and limits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from last_cli.families.lti.discretise import METHODS, as_complex, bilinear, clip_real, zoh

A = np.array([-0.5 + 3j, -0.01 - 20j, -2 + 0j])
DT = np.array([0.1, 0.01, 0.5])


def test_zoh_holds_the_input_over_a_step() -> None:
    """Integrates x' = A x + u with u = 1 in 20,000 small steps of the midpoint rule."""
    lam, factor = zoh(A, DT)
    np.testing.assert_allclose(lam, np.exp(A * DT), rtol=1e-14)
    n = 20_000
    moments = (np.arange(n) + 0.5)[:, None] * DT / n
    np.testing.assert_allclose(factor, (np.exp(A * moments) * DT / n).sum(axis=0), rtol=1e-7)


def test_bilinear_is_the_trapezoidal_rule() -> None:
    lam, factor = bilinear(A, DT)
    # x1 - x0 = dt/2 (A x0 + A x1 + 2 u)
    for x0, u in ((1.0, 0.0), (0.0, 1.0)):
        x1 = lam * x0 + factor * u
        np.testing.assert_allclose(x1 - x0, DT / 2 * (A * x0 + A * x1 + 2 * u), rtol=1e-12)


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_both_methods_are_those_of_the_differential_equation_for_short_steps(method: str) -> None:
    dt = np.full(3, 1e-5)
    lam, factor = METHODS[method](A, dt)
    np.testing.assert_allclose((lam - 1) / dt, A, rtol=1e-3)
    np.testing.assert_allclose(factor / dt, 1, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_stable_poles_stay_stable(method: str) -> None:
    assert (np.abs(METHODS[method](A, DT)[0]) < 1).all()


def test_impulses_reach_the_states_as_they_are() -> None:
    """Event-based inputs: nothing is held between them, so that B stays, and poles decay as under zero-order hold."""
    lam, factor = METHODS["dirac"](A, DT)
    np.testing.assert_array_equal(factor, np.ones(3))
    np.testing.assert_array_equal(lam, zoh(A, DT)[0])


def test_the_zoh_factor_keeps_its_digits_for_tiny_steps() -> None:
    factor = zoh(np.array([-1e-9 + 0j]), np.array([1e-3]))[1]
    assert factor[0] == pytest.approx(1e-3, rel=1e-12)


def test_zoh_of_a_pole_at_zero_is_an_integrator_with_finite_gradients() -> None:
    lam, factor = zoh(np.zeros(1) + 0j, np.array([0.3]))
    assert (lam[0], factor[0]) == (1, 0.3)

    def total(re, dt):
        return sum(jnp.real(part).sum() for part in zoh(re + 0j, dt))

    for gradient in jax.grad(total, argnums=(0, 1))(jnp.zeros(2), jnp.full(2, 0.1)):
        assert np.isfinite(gradient).all()


def test_real_parts_are_clipped_just_left_of_zero() -> None:
    np.testing.assert_array_equal(clip_real(np.array([-1.0, -1e-5, 0.0, 2.0])), [-1.0, -1e-4, -1e-4, -1e-4])


def test_pairs_of_numbers_become_complex() -> None:
    np.testing.assert_array_equal(as_complex(np.array([[1.0, 2.0], [0.0, -1.0]])), [1 + 2j, -1j])
