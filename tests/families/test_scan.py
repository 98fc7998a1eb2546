"""The engine against plain recurrences and sums."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_layers import KINDS, simulate

from last_cli.families.lti.network import scan
from last_cli.families.lti.system import System

LENGTHS = [1, 7, 64]

run = jax.jit(scan.run)  # one compilation, where eager calls need one for each of their steps


def inputs(length: int, features: int, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(length).normal(size=(batch, length, features)).astype(np.float32)


def assert_close(found, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(wanted).max())))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_outputs_are_those_of_the_plain_recurrence(kind: str, length: int) -> None:
    system = KINDS[kind].system()
    u = inputs(length, len(system.D))
    prepared = scan.single(scan.prepare(system, length))
    assert {a.dtype for a in prepared.values()} <= {np.dtype(np.float32), np.dtype(np.complex64)}
    assert_close(run(prepared, jnp.asarray(u)), np.stack([simulate(system, row) for row in u]))


@pytest.mark.parametrize("kind", KINDS)
def test_systems_prepared_within_the_trace_give_the_same(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    u, system = inputs(20, layer.sizes.features), layer.family.system
    assert system is not None

    @jax.jit
    def traced(leaves, u):
        return scan.run(scan.prepare(system(leaves, KINDS[kind].config), u.shape[1]), u)

    beforehand = run(scan.single(scan.prepare(KINDS[kind].system(), 20)), jnp.asarray(u))
    assert_close(traced(arrays, u), np.asarray(beforehand))


@pytest.mark.parametrize("backward_lag", [0, 1])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_convolution_sees_the_backward_direction_from_its_lag_on(backward_lag: int, length: int) -> None:
    system = replace(KINDS["s4d-pairs-two-directions"].system(), backward_lag=backward_lag)
    u = inputs(length, len(system.D), batch=1)
    found = run(scan.single(scan.prepare(system, length)), jnp.asarray(u))
    assert_close(found[0], simulate(system, u[0]))


def test_the_last_output_does_not_see_backward_states_of_lag_one() -> None:
    system = KINDS["s4d-pairs-two-directions"].system()
    backward = replace(system, C=system.C * np.array([0, 1])[:, None, None, None], D=np.zeros_like(system.D))
    u = inputs(16, len(system.D), batch=1)
    found = np.asarray(run(scan.single(scan.prepare(backward, 16)), jnp.asarray(u)))
    np.testing.assert_allclose(found[0, -1], 0, atol=1e-4)
    assert np.abs(found[0, 0]).min() > 1e-3


@pytest.mark.parametrize("kind", ["s5-one-direction", "s5-two-directions"])
def test_the_associative_scan_of_a_gpu_gives_what_the_loop_gives(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = KINDS[kind].system()
    prepared, u = scan.single(scan.prepare(system, 33)), jnp.asarray(inputs(33, len(system.D)))
    loop = np.asarray(run(prepared, u))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    in_parallel = jax.jit(lambda prepared, u: scan.run(prepared, u))
    assert "scan[" not in str(jax.make_jaxpr(in_parallel)(prepared, u))
    assert_close(in_parallel(prepared, u), loop)


@pytest.mark.parametrize("kind", ["s4d", "s4d-pairs", "s4d-pairs-two-directions"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 63, 64, 65])
def test_the_kernel_is_the_sum_over_powers(kind: str, length: int) -> None:
    system = KINDS[kind].system()
    powers = system.lam[..., None] ** np.arange(length)
    wanted = system.gain * np.einsum("rgn,gn,gnl->rgl", system.C[:, :, 0], system.B[..., 0], powers).real
    np.testing.assert_allclose(scan.kernel(system, length), wanted, rtol=1e-10, atol=1e-12)


def test_outputs_do_not_depend_on_the_batch_that_a_sequence_is_in() -> None:
    for kind in ("s5-two-directions", "s4d"):
        system = KINDS[kind].system()
        prepared, u = scan.single(scan.prepare(system, 30)), jnp.asarray(inputs(30, len(system.D), batch=5))
        assert_close(run(prepared, u[2:3])[0], np.asarray(run(prepared, u)[2]))


def test_one_direction_is_causal_and_padding_after_the_end_changes_nothing() -> None:
    for kind in ("s5-one-direction", "s4d", "s4d-pairs"):
        system = KINDS[kind].system()
        u = inputs(40, len(system.D))
        cut = np.where(np.arange(40)[:, None] < 25, u, 0)
        long = run(scan.single(scan.prepare(system, 40)), jnp.asarray(cut))
        short = run(scan.single(scan.prepare(system, 25)), jnp.asarray(u[:, :25]))
        assert_close(long[:, :25], np.asarray(short))


def test_a_state_close_to_the_unit_circle_keeps_its_precision_over_long_sequences() -> None:
    lam = np.exp(-1e-4 + 0.3j) * np.ones((1, 1))
    system = System(lam, np.ones((1, 1, 1)) + 0j, np.ones((1, 1, 1, 1)) + 0j, np.zeros(1), gain=1.0)
    u = inputs(2048, 1, batch=1)
    found = run(scan.single(scan.prepare(system, 2048)), jnp.asarray(u))
    wanted = simulate(system, u[0])
    np.testing.assert_allclose(found[0], wanted, atol=1e-3 * np.abs(wanted).max())


def test_the_fft_is_complex_of_the_next_length_that_is_fast() -> None:
    found = [scan.fast_length(length) for length in (1, 2, 7, 31, 784, 1000, 1024, 1025, 16000, 16001)]
    assert found == [1, 2, 8, 32, 800, 1000, 1024, 1080, 16000, 16200]
    assert scan.prepare(KINDS["s4d"].system(), 1000)["spectrum"].shape[-1] == 1000
