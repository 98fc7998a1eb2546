"""out_proj and D in closed form: what D adds to a mixer's output, and the solution."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from language_models import model

from last_cli.families.mamba2.network import forward, refit


@pytest.mark.parametrize("name", ["phi_mva", "hf_groups", "ssm_norm_before_gate"])
def test_the_output_grows_with_d_along_the_skip_while_the_norm_is_held(name: str) -> None:
    found = model(name)
    _, block, _, own = next(found.mixers())
    assert block.sizes is not None
    width = own["in_proj.weight"].shape[1]
    u = jnp.asarray(np.random.default_rng(0).normal(size=(1, 12, width)), jnp.float32)
    tensors, step = {key: jnp.asarray(array) for key, array in own.items()}, 1e-2
    y, skip = (np.asarray(a) for a in forward.readout_and_skip(block.sizes, tensors, u))
    np.testing.assert_array_equal(y, forward.readout(block.sizes, tensors, u))
    more = np.asarray(forward.readout(block.sizes, {**tensors, "D": tensors["D"] + step}, u))
    if block.sizes.settings.norm is None:  # Else it changes, too.
        np.testing.assert_allclose((more - y) / step, skip, atol=2e-4 * np.abs(skip).max())
    assert skip.shape == y.shape and np.abs(skip).max() > 0


def test_d_is_the_least_squares_solution_for_a_given_weight() -> None:
    rng = np.random.default_rng(1)
    y, s, weight = rng.normal(size=(300, 6)), rng.normal(size=(300, 6)), rng.normal(size=(4, 6))
    d = np.array([0.5, -1.0, 0.25])
    t = (y + s * np.repeat(d, 2)) @ weight.T
    sums = refit.Sums(y.T @ y, y.T @ s, s.T @ s, t.T @ y, t.T @ s, float(np.square(t).sum()))
    np.testing.assert_allclose(refit.skipped(sums, weight, 0, 3), d, rtol=5e-3)
    assert sums.error(weight) == pytest.approx(np.square(t - y @ weight.T).sum())
    yy, ys, ss = (np.pad(a, ((2, 0), (2, 0))) for a in (sums.yy, sums.ys, sums.ss))
    ty, ts = (np.pad(a, ((0, 0), (2, 0))) for a in (sums.ty, sums.ts))
    beside = refit.Sums(yy, ys, ss, ty, ts, sums.tt)
    wide = np.pad(weight, ((0, 0), (2, 0)))
    np.testing.assert_allclose(refit.skipped(beside, wide, 2, 3), refit.skipped(sums, weight, 0, 3))
