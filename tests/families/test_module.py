"""The Flax modules beyond the logits that test_oracle compares: gradients, training, tokens, padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_layers import KINDS, classifier, leaves_of
from random_networks import nested

from last_cli.families.find import find_layers
from last_cli.families.lti.network.module import Classifier
from last_cli.families.lti.network.spec import infer, read_spec
from last_cli.formats import Key

TOKENS = np.random.default_rng(0).integers(7, size=(3, 12)).astype(np.int32)
# Stored, and ignored by the kernel of annotated-s4.
UNUSED = {"B_re", "B_im"}


def built(arrays: dict[Key, np.ndarray], kind: str = "s5-two-directions", **options: Any) -> tuple[Classifier, dict]:
    """The module for these arrays, and its variables."""
    leaves = leaves_of(arrays)
    layers = find_layers(leaves)
    config = replace(KINDS[kind].config, **{**infer(leaves, layers), **options})
    return Classifier(read_spec(leaves, layers, config)), nested(arrays)


def logits(model: Classifier, variables: dict, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    return np.asarray(jax.jit(model.apply)(variables, x, lengths))


def train(model: Classifier, variables: dict, seed: int) -> tuple[np.ndarray, dict]:
    """Outputs of a training pass, and what it leaves in the mutable collections."""

    def step(variables: dict, key: Any) -> Any:
        collections = ["batch_stats", "intermediates"]
        return model.apply(
            variables,
            TOKENS,
            training=True,
            rngs={"dropout": key},
            mutable=collections,
            capture_intermediates=True,
        )

    found, state = jax.jit(step)(variables, jax.random.key(seed))
    return np.asarray(found), jax.tree.map(np.asarray, state)


def encoded(variables: dict) -> np.ndarray:
    encoder = variables["params"]["encoder"]["encoder"]
    return np.asarray(encoder["kernel"])[TOKENS] + np.asarray(encoder["bias"])


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("s5-two-directions", {}),
        ("s5-one-C-of-two-directions", {"gates": ("out1", "out2")}),
        ("s5-bilinear", {"gates": ()}),
        ("s4d", {"nested": False, "norm": "layer", "gates": ("out", "out2")}),
        ("s4d-pairs-two-directions", {"norm": "layer"}),
    ],
)
def test_gradients_reach_every_parameter_and_are_finite(kind: str, options: dict) -> None:
    model, variables = built(classifier(kind, blocks=1, **options), kind, padded=True)
    lengths = np.array([12, 5, 9])

    @jax.jit
    @jax.grad
    def gradient(params: Any, rest: Any) -> Any:
        # Weights that differ from class to class: the sum of log-probabilities alone is nearly flat.
        found: Any = model.apply({**rest, "params": params}, TOKENS, lengths)
        return (found * jnp.arange(5)).sum()

    for path, g in jax.tree_util.tree_leaves_with_path(gradient(variables["params"], variables)):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(g).all(), name
        if path[-1].key not in UNUSED:
            assert (np.abs(g) > 0).mean() > 0.9, name


def test_training_updates_the_running_statistics() -> None:
    model, variables = built(classifier(blocks=1), bn_momentum=0.9)
    updated = train(model, variables, 0)[1]["batch_stats"]["encoder"]["layers_0"]["norm"]
    before = variables["batch_stats"]["encoder"]["layers_0"]["norm"]
    entered = encoded(variables)
    assert_close(updated["mean"], 0.9 * np.asarray(before["mean"]) + 0.1 * entered.mean(axis=(0, 1)))
    assert_close(updated["var"], 0.9 * np.asarray(before["var"]) + 0.1 * entered.var(axis=(0, 1)))


def test_evaluation_leaves_the_running_statistics_alone() -> None:
    model, variables = built(classifier(blocks=1, norm="batch"))
    state: Any = jax.jit(lambda v: model.apply(v, TOKENS, mutable=["batch_stats"])[1])(variables)
    for found, before in zip(jax.tree.leaves(state), jax.tree.leaves(variables["batch_stats"]), strict=True):
        np.testing.assert_array_equal(found, before)


def test_dropout_acts_in_training_alone_and_follows_its_key() -> None:
    model, variables = built(classifier(blocks=1), dropout=0.5)
    first, again, other = (train(model, variables, seed)[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert np.abs(first - other).max() > 1e-3
    without, _ = built(classifier(blocks=1), dropout=0.0)
    np.testing.assert_array_equal(logits(model, variables, TOKENS), logits(without, variables, TOKENS))


def test_dropout_drops_a_feature_at_all_time_steps_together() -> None:
    model, variables = built(classifier(blocks=1, gates=()), dropout=0.5)
    found = train(model, variables, 0)[1]["intermediates"]["encoder"]["layers_0"]["__call__"][0]
    zero = (np.abs(found - encoded(variables)) < 1e-6).mean(axis=1)
    assert ((zero == 1) | (zero < 0.6)).all()
    assert 0 < (zero == 1).mean() < 1


@pytest.mark.parametrize("kind", ["s5-two-directions", "s4d"])
def test_tokens_give_what_their_one_hot_vectors_give(kind: str) -> None:
    model, variables = built(classifier(kind, norm="layer"), kind)
    one_hot = np.eye(7, dtype=np.float32)[TOKENS]
    assert_close(logits(model, variables, TOKENS), logits(model, variables, one_hot))


def test_outputs_are_log_probabilities() -> None:
    found = logits(*built(classifier()), TOKENS)
    assert found.shape == (3, 5)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-5)


def test_the_padded_mean_runs_over_each_sequences_own_length() -> None:
    model, variables = built(classifier("s5-one-direction", norm="layer"), "s5-one-direction", padded=True)
    other = np.where(np.arange(12) < 5, TOKENS, 6 - TOKENS)
    found = logits(model, variables, TOKENS, np.full(3, 5))
    assert_close(logits(model, variables, other, np.full(3, 5)), found)
    assert_close(logits(model, variables, TOKENS[:, :5], np.full(3, 5)), found)
    whole = logits(model, variables, TOKENS, np.full(3, 12))
    assert_close(logits(model, variables, TOKENS), whole)
    assert np.abs(found - whole).max() > 1e-3


def test_a_backward_direction_sees_the_padding() -> None:
    model, variables = built(classifier(norm="layer"), padded=True)
    other = np.where(np.arange(12) < 5, TOKENS, 6 - TOKENS)
    found = logits(model, variables, TOKENS, np.full(3, 5))
    assert np.abs(logits(model, variables, other, np.full(3, 5)) - found).max() > 1e-3


def test_without_padding_lengths_are_of_no_consequence() -> None:
    model, variables = built(classifier(blocks=1), padded=False)
    np.testing.assert_array_equal(logits(model, variables, TOKENS, np.full(3, 5)), logits(model, variables, TOKENS))


@pytest.mark.parametrize("mode", ["pool", "last"])
def test_mode_last_reads_the_last_step_where_pool_reads_all(mode: str) -> None:
    arrays = classifier("s5-one-direction", norm="layer", blocks=1, gates=())
    # Without readouts the block passes each time step on by itself.
    arrays |= {key: np.zeros_like(a) for key, a in arrays.items() if key[-1] in ("C", "D")}
    model, variables = built(arrays, "s5-one-direction", mode=mode)
    early = TOKENS.copy()
    early[:, 0] = (early[:, 0] + 1) % 7
    same = logits(model, variables, early) == logits(model, variables, TOKENS)
    assert same.all() if mode == "last" else not same.any()


@pytest.mark.parametrize("prenorm", [True, False])
def test_the_norm_stands_where_the_configuration_says(prenorm: bool) -> None:
    model, variables = built(classifier(norm="layer", blocks=1), prenorm=prenorm)
    block = train(model, variables, 0)[1]["intermediates"]["encoder"]["layers_0"]
    out, normed = block["__call__"][0], block["norm"]["__call__"][0]
    assert np.array_equal(out, normed) is not prenorm
    if prenorm:
        params, x = variables["params"]["encoder"]["layers_0"]["norm"], encoded(variables)
        centred = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
        assert_close(normed, centred * np.asarray(params["scale"]) + np.asarray(params["bias"]))


@pytest.mark.parametrize(("kind", "is_nested"), [("s5-two-directions", True), ("s4d", False)])
def test_a_fresh_module_has_the_checkpoints_tree(kind: str, is_nested: bool) -> None:
    arrays = classifier(kind, nested=is_nested)
    model, _ = built(arrays, kind)
    fresh = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
    shapes = {tuple(k.key for k in path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(fresh)}
    assert shapes == {key: array.shape for key, array in arrays.items()}
