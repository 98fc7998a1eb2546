"""Convolution of channels, with the states passed from chunk to chunk or by FFT, against one step after the other."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from random_layers import KINDS, simulate

from last_cli.families.lti.network import convolve
from last_cli.families.lti.system import System

RNG = np.random.default_rng(0)


def outputs(system: System, u: np.ndarray) -> np.ndarray:
    """Of `convolve`, (length, features), for a stream that the layer's scale and bias make into these inputs."""
    scale, bias = RNG.uniform(0.5, 2, len(system.D)), RNG.normal(size=len(system.D))
    split = convolve.split(system, len(u), scale, bias)
    parts = jax.tree.map(lambda a: a.astype({"c": "c8", "f": "f4", "i": "i4"}[a.dtype.kind]), split)
    stream = ((u - bias) / scale).T[:, None].astype(np.float32)
    return np.asarray(jax.jit(lambda parts, u: convolve.convolve(parts, u, True))(parts, stream))[:, 0].T


def pruned(system: System, counts: np.ndarray) -> System:
    """Only so many states in each channel, the rest padding."""
    live = np.arange(system.lam.shape[1]) < counts[:, None]
    return replace(system, live=live, C=np.where(live[None, :, None], system.C, 0))


@pytest.mark.parametrize("length", [5, 32, 33, 100, 256])
@pytest.mark.parametrize("kind", ["s4d", "s4d-pairs", "s4d-pairs-two-directions"])
def test_channels_of_few_and_of_many_states(kind: str, length: int) -> None:
    system = pruned(KINDS[kind].system(states=40, features=6), np.array([0, 3, 8, 9, 17, 40]))
    u = RNG.normal(size=(length, 6))
    wanted = simulate(system, u)
    np.testing.assert_allclose(outputs(system, u), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_channels_are_grouped_by_the_states_that_they_have_left() -> None:
    system = pruned(KINDS["s4d"].system(states=40, features=6), np.array([0, 3, 8, 9, 17, 40]))
    parts = convolve.split(system, 100, np.ones(6), np.zeros(6))
    found = {tuple(part["channels"]): part["carry"].shape[1] if "carry" in part else "fft" for part in parts}
    assert found == {(0, 1, 2): 8, (3,): 16, (4, 5): "fft"}
