"""The language model as a Network: the surprise of each token, and nothing that padding says."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from language_models import Model, model

from last_cli.base.errors import CheckpointError
from last_cli.families.mamba2.network import forward
from last_cli.families.mamba2.network.language import LANGUAGE


@cache
def program(name: str) -> Any:
    spec = model(name).spec
    return jax.jit(lambda tensors, x, lengths: LANGUAGE.forward(spec, tensors, x, lengths, "cpu"))


def expected(case: Model) -> np.ndarray:
    """-log p of each token but the first, from the logits that the library gave."""
    logits, tokens = case.recorded["logits"].astype(np.float64), case.recorded["tokens"]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(log_p[:, :-1], tokens[:, 1:, None].astype(int), -1)[..., 0]


@pytest.mark.parametrize("name", ["hf_groups", "mil_base"])
def test_the_loss_is_that_of_the_recorded_logits(name: str) -> None:
    case = model(name)
    tokens = case.recorded["tokens"]
    lengths = np.full(len(tokens), tokens.shape[1], np.int32)
    found = np.asarray(program(name)(dict(case.tensors), tokens, lengths), np.float64)
    assert found.shape == (len(tokens), LANGUAGE.outputs(case.spec, tokens.shape[1]))
    np.testing.assert_allclose(found, expected(case), atol=1e-4)
    for skip in (0, 3):
        sums = LANGUAGE.loss(found, np.full(len(tokens), skip))
        np.testing.assert_allclose(sums, expected(case)[:, skip:].sum(axis=1), rtol=1e-5)


def test_padding_is_not_seen() -> None:
    case = model("hf_groups")
    tokens = case.recorded["tokens"].copy()
    whole = np.asarray(program("hf_groups")(dict(case.tensors), tokens, np.full(len(tokens), tokens.shape[1])))
    lengths = np.arange(len(tokens)) + 5
    tokens[np.arange(tokens.shape[1]) >= lengths[:, None]] = 1
    found = np.asarray(program("hf_groups")(dict(case.tensors), tokens, lengths))
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(found[row, : length - 1], whole[row, : length - 1])
        assert not found[row, length - 1 :].any()


def test_logits_are_made_a_few_positions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = model("hf_groups")
    monkeypatch.setattr(forward, "BLOCK", 5)
    tokens = jnp.asarray(case.recorded["tokens"])
    found = jax.jit(lambda tensors, x: forward.surprise(case.spec, tensors, x))(dict(case.tensors), tokens)
    np.testing.assert_allclose(found, expected(case), atol=1e-4)


def test_the_spec_has_what_other_rooms_read() -> None:
    case = model("hf_groups")
    vocabulary = case.tensors["backbone.embeddings.weight"].shape[0]
    assert (case.spec.d_input, case.spec.d_output, case.spec.documents) == (vocabulary, vocabulary, 1)
    assert hash(case.spec) == hash(model("hf_groups").spec) and repr(case.spec) != repr(model("mil_base").spec)
    assert LANGUAGE.answers == "tokens" and LANGUAGE.precisions == ("float32",)
    assert LANGUAGE.statistics(case.spec) is None
    with pytest.raises(CheckpointError, match="has no Flax module"):
        LANGUAGE.module(case.spec)


def test_tensors_are_folded_by_their_names() -> None:
    nested = {"model": {"layers": {"0": {"D": np.ones(2, np.float16)}}}, "lm_head": {"weight": np.zeros((1, 1))}}
    found = LANGUAGE.fold(model("hf_groups").spec, nested, {}, 8, "float32")
    assert set(found) == {"model.layers.0.D", "lm_head.weight"}
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
