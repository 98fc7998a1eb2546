"""Blocks run in chunks of time, against the same blocks run in one."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from random_layers import classifier
from random_networks import built

from last_cli.families.lti.network import recurrence
from last_cli.families.lti.network.forward import forward

LENGTH = 22
X = np.random.default_rng(0).integers(7, size=(2, LENGTH)).astype(np.int32)
LENGTHS = np.array([LENGTH, 9], np.int32)


def compiled(model: tuple[Any, ...], length: int = LENGTH) -> Any:
    spec, _, params = model
    x = np.resize(X, (2, length))
    return jax.jit(lambda p, x, n: forward(spec, p, x, n, "cpu")).lower(params, x, LENGTHS).compile()


@pytest.mark.parametrize("kept", [recurrence.KEPT, 0])
@pytest.mark.parametrize(
    ("kind", "norm", "options"),
    [
        ("s5-two-directions", "batch", {"padded": True}),
        ("s5-two-directions", "layer", {"prenorm": False, "mode": "last"}),
        ("s5-bilinear", "layer", {"padded": True}),
    ],
)
def test_chunks_give_what_one_gives(monkeypatch: Any, kind: str, norm: str, options: dict, kept: int) -> None:
    model = built(classifier(kind, norm=norm), kind, LENGTH, **options)
    whole = np.asarray(compiled(model)(model[2], X, LENGTHS))
    monkeypatch.setattr(recurrence, "CPU_ROWS", 8)  # 6 chunks of 4 steps, the last one filled up
    monkeypatch.setattr(recurrence, "KEPT", kept)
    np.testing.assert_allclose(compiled(model)(model[2], X, LENGTHS), whole, rtol=0, atol=1e-6)


def test_memory_does_not_grow_with_states_times_length(monkeypatch: Any) -> None:
    monkeypatch.setattr(recurrence, "CPU_ROWS", 64)
    monkeypatch.setattr(recurrence, "KEPT", 0)
    length = 2048
    model = built(classifier("s5-two-directions", states=64, features=8), "s5-two-directions", length)
    stream, states = (4 * 2 * length * width for width in (8, 64))
    assert compiled(model, length).memory_analysis().temp_size_in_bytes < 2 * stream + states / 2
