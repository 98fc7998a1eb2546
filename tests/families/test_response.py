"""The step by step definition of a mixer and the network's mixer give the same, whatever the dialect."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from language_models import model

from last_cli.families.mamba2.network.forward import mix
from last_cli.families.mamba2.response import response


@pytest.mark.parametrize("name", ["phi_mva", "mil_base", "falcon_h1_norm", "ssm_mlp"])
def test_the_definition_is_what_the_network_computes(name: str) -> None:
    _, block, _, own = next(model(name).mixers())
    sizes = block.sizes
    assert sizes is not None
    u = np.random.default_rng(0).standard_normal((9, own["in_proj.weight"].shape[1]), np.float32)
    found = response(sizes, own, u)
    expected = np.asarray(jax.jit(lambda tensors, u: mix(sizes, tensors, u, 4))(own, u[None]))[0]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
