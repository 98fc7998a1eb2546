"""The engine against the Flax module, over every kind of layer and configuration, and against the original code."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from cases import Case
from random_layers import KINDS, classifier
from random_networks import built

from last_cli.evaluation import program
from last_cli.families.lti.network.classifier import CLASSIFIER
from last_cli.families.lti.network.fold import fold
from last_cli.families.lti.network.forward import forward
from last_cli.families.lti.network.module import Classifier
from last_cli.families.lti.network.spec import ModelSpec, read_spec

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(7, size=(3, 40)).astype(np.int32)
FEATURES = RNG.normal(size=(3, 40, 7)).astype(np.float32)
LENGTHS = np.array([40, 17, 33], np.int32)
SHORT = 12


def flax(spec: ModelSpec, variables: Any, x: np.ndarray) -> np.ndarray:
    """Step by step: the steps are compiled once for all kinds, a whole program would be for each."""
    return np.asarray(Classifier(spec).apply(variables, x, lengths_in(x)))


def engine(spec: ModelSpec, params: Any, x: np.ndarray, platform: str | None = None) -> np.ndarray:
    run = jax.jit(lambda params, x, lengths: forward(spec, params, x, lengths, platform))
    return np.asarray(run(params, x, lengths_in(x)))


def lengths_in(x: np.ndarray) -> np.ndarray:
    return LENGTHS * x.shape[1] // 40


def assert_equal(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_layer(kind: str) -> None:
    spec, variables, params = built(classifier(kind), kind, padded=True)
    wanted = flax(spec, variables, TOKENS)
    for platform in ("cpu", "gpu"):
        assert_equal(engine(spec, params, TOKENS, platform), wanted)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("prenorm", [True, False])
@pytest.mark.parametrize(
    ("kind", "gates", "activation"),
    [
        ("s5-two-directions", ("out1", "out2"), "full_glu"),
        ("s4d-pairs-two-directions", ("out", "out2"), "full_glu"),
        ("s5-two-directions", ("out2",), "half_glu1"),
        ("s4d-pairs-two-directions", ("out2",), "half_glu1"),
        ("s5-two-directions", ("out2",), "half_glu2"),
        ("s4d-pairs-two-directions", ("out2",), "half_glu2"),
        ("s5-two-directions", (), "gelu"),
    ],
)
def test_every_norm_and_gate(kind: str, norm: str, prenorm: bool, gates: tuple[str, ...], activation: str) -> None:
    arrays = classifier(kind, norm=norm, gates=gates)
    spec, variables, params = built(arrays, kind, SHORT, prenorm=prenorm, activation=activation, padded=True)
    x = TOKENS[:, :SHORT]
    assert_equal(engine(spec, params, x), flax(spec, variables, x))


@pytest.mark.parametrize("x", [TOKENS[:, :SHORT], FEATURES[:, :SHORT]])
@pytest.mark.parametrize("options", [{"padded": True}, {"padded": False}, {"mode": "last"}])
@pytest.mark.parametrize("is_nested", [True, False])
def test_every_input_and_pooling(x: np.ndarray, options: dict, is_nested: bool) -> None:
    spec, variables, params = built(classifier(nested=is_nested), "s5-two-directions", SHORT, **options)
    assert_equal(engine(spec, params, x), flax(spec, variables, x))


def test_layers_of_several_families() -> None:
    first, second = classifier("s5-two-directions"), classifier("s4d", seed=1)
    mixed = {k: a for k, a in first.items() if "layers_1" not in k} | {
        k: a for k, a in second.items() if "layers_1" in k
    }
    spec, variables, params = built(mixed, "s5-two-directions")
    assert [block.family for block in spec.blocks] == ["s5", "s4d"]
    assert_equal(engine(spec, params, TOKENS), flax(spec, variables, TOKENS))


@pytest.mark.parametrize("kind", ["s5-two-directions", "s4d"])
def test_half_precision_is_near_but_not_the_same(kind: str) -> None:
    spec, variables, params = built(classifier(kind, features=32), kind, precision="bfloat16")
    found, wanted = engine(spec, params, FEATURES), flax(spec, variables, FEATURES)
    assert found.dtype == np.float32
    assert 1e-5 < np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def predict(spec: ModelSpec, params: Any, x: np.ndarray, lengths: np.ndarray, micro: int = 1) -> np.ndarray:
    devices, rounds = jax.devices()[:1], -(-len(x) // micro)
    batching = program.Batching(x.shape[1:], x.dtype, micro, rounds)
    found = program.program(CLASSIFIER, spec, params, devices, batching)
    return found.start(x, lengths)()


def test_checkpoints_of_equal_shapes_share_their_program() -> None:
    program._compiled.cache_clear()
    for seed in (0, 1):
        spec, variables, params = built(classifier(seed=seed), "s5-two-directions", padded=True)
        for micro in (1, 3):
            assert_equal(predict(spec, params, TOKENS, LENGTHS, micro), flax(spec, variables, TOKENS))
    assert program._compiled.cache_info().misses == 2


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_logits_equal_the_original_models(case: Case, platform: str) -> None:
    checkpoint = case.load()
    spec = read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)
    systems = {layer.name.split("/")[-2]: checkpoint.system(layer) for layer in checkpoint.layers}
    x, lengths = case.inputs()
    params = fold(spec, checkpoint.tree, systems, x.shape[1])
    found = np.asarray(jax.jit(lambda p, x, n: forward(spec, p, x, n, platform))(params, x, lengths))
    np.testing.assert_allclose(found, case.expected["logits"], atol=case.tolerance, rtol=0)
