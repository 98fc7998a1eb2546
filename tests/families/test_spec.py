"""The model around the layers, read off a tree's names and shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from random_layers import classifier, leaves_of

from last_cli.base.errors import CheckpointError
from last_cli.families.find import find_layers
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.network.spec import ModelSpec, infer, read_spec
from last_cli.families.variables import Collections
from last_cli.formats import Key, Leaf

Leaves = dict[Key, Leaf]


def spec_of(leaves: Leaves, **options) -> ModelSpec:
    layers = find_layers(leaves)
    config = replace(ModelConfig(), **{**infer(leaves, layers), **options})
    return read_spec(leaves, layers, config)


def tree(kind: str = "s5-two-directions", **options) -> Leaves:
    return leaves_of(classifier(kind, **options))


def without(leaves: Leaves, *key: str) -> Leaves:
    assert key in leaves
    return {k: leaf for k, leaf in leaves.items() if k != key}


def below(leaves: Leaves, *above: str) -> Leaves:
    return {(*above, *key): replace(leaf, key=(*above, *key)) for key, leaf in leaves.items()}


def test_a_nested_s5_tree_is_read() -> None:
    spec = spec_of(tree(features=4, states=6, blocks=3))
    assert (spec.nested, spec.d_input, spec.d_model, spec.d_output) == (True, 7, 4, 5)
    assert [b.name for b in spec.blocks] == ["layers_0", "layers_1", "layers_2"]
    assert {(b.family, b.norm, b.glu) for b in spec.blocks} == {("s5", "batch", ("out2",))}
    assert dict(spec.blocks[0].leaves)["B"] == (6, 4, 2)


def test_a_flat_s4d_tree_is_read() -> None:
    spec = spec_of(tree("s4d", nested=False, gates=("out", "out2"), norm="layer"))
    assert (spec.nested, spec.d_input, spec.d_model, spec.d_output) == (False, 7, 4, 5)
    assert {(b.family, b.norm, b.glu) for b in spec.blocks} == {("s4d", "layer", ("out", "out2"))}
    assert spec.config.activation == "full_glu"


def test_blocks_may_have_different_numbers_of_states() -> None:
    leaves = tree(states=6, blocks=1)
    other = {key: leaf for key, leaf in tree(states=3, blocks=2).items() if "layers_1" in key}
    shapes = [dict(block.leaves)["Lambda_re"] for block in spec_of(leaves | other).blocks]
    assert shapes == [(6,), (3,)]


@pytest.mark.parametrize("above", [("state",), ("0", "model"), ("item", "default")])
def test_the_tree_may_stand_below_other_keys(above: Key) -> None:
    leaves = tree()
    assert spec_of(below(leaves, *above)) == spec_of(leaves)


def test_optimizer_state_beside_the_model_is_none_of_its_variables() -> None:
    leaves = tree()
    moments = below({key: leaf for key, leaf in leaves.items() if key[0] == "params"}, "opt_state", "mu")
    layers = find_layers(leaves | moments)
    assert Collections.of(layers).variables(leaves | moments) == leaves


def test_a_tree_of_bare_parameters_is_read() -> None:
    leaves = {key[1:]: replace(leaf, key=key[1:]) for key, leaf in tree(norm="layer").items()}
    assert spec_of(leaves) == spec_of(tree(norm="layer"))


def test_running_statistics_beside_bare_parameters_are_no_parameters() -> None:
    leaves = tree(norm="batch")
    bare = {key[1:] if key[0] == "params" else key: leaf for key, leaf in leaves.items()}
    assert Collections.of(find_layers(bare)).variables(bare).keys() == leaves.keys()
    assert spec_of(bare) == spec_of(leaves)


@pytest.mark.parametrize(
    ("gates", "activation"), [((), "gelu"), (("out1", "out2"), "full_glu"), (("out", "out2"), "full_glu")]
)
def test_the_gates_products_tell_the_activation(gates: tuple[str, ...], activation: str) -> None:
    leaves = tree(gates=gates)
    assert infer(leaves, find_layers(leaves)) == {"activation": activation}


def test_one_product_leaves_the_activation_open() -> None:
    leaves = tree(gates=("out2",))
    assert infer(leaves, find_layers(leaves)) == {}
    for activation in ("half_glu1", "half_glu2"):
        assert spec_of(leaves, activation=activation).config.activation == activation


@pytest.mark.parametrize(
    ("gates", "activation", "message"),
    [
        (("out2",), "full_glu", r"activation is 'full_glu' but the tree has the products \['out2'\], .* half_glu1 or"),
        (("out1", "out2"), "half_glu2", r"products \['out1', 'out2'\], which means full_glu"),
        ((), "half_glu1", r"products \[\], which means gelu"),
        (("out1",), "gelu", r"products \['out1'\], which means none that is known"),
    ],
)
def test_an_activation_that_contradicts_the_tree_is_refused(gates, activation: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^encoder/layers_0/seq: .*{message}") as caught:
        spec_of(tree(gates=gates), activation=activation)
    assert "give activation" in caught.value.hint


def test_a_block_without_a_norm_is_refused() -> None:
    leaves = without(tree(), "params", "encoder", "layers_1", "norm", "scale")
    with pytest.raises(CheckpointError, match="encoder/layers_1: the tree has no norm/scale"):
        spec_of(leaves)


def test_a_tree_without_a_decoder_is_refused() -> None:
    with pytest.raises(CheckpointError, match="the tree has no params/decoder/kernel of two axes"):
        spec_of(without(tree(), "params", "decoder", "kernel"))


@pytest.mark.parametrize(
    ("nested", "name"), [(True, "params/encoder/encoder/kernel"), (False, "params/encoder/kernel")]
)
def test_a_tree_without_an_encoder_is_refused(nested: bool, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"the tree has no {name}"):
        spec_of(without(tree(nested=nested), *name.split("/")))


def pair_head(*shape: int) -> Leaves:
    leaves = {key: leaf for key, leaf in tree(features=4).items() if key[:2] != ("params", "decoder")}
    shapes = {"layer1": shape, "layer2": (4, 2)}
    keys = {("params", "decoder", name, "kernel"): shape for name, shape in shapes.items()}
    keys |= {("params", "decoder", name, "bias"): shape[1:] for name, shape in shapes.items()}
    return leaves | {key: Leaf(key, shape, "float32", "array") for key, shape in keys.items()}


def test_a_head_of_two_documents_pools_each_over_its_own_length() -> None:
    spec = spec_of(pair_head(16, 4), padded=False, mode="last")
    assert (spec.documents, spec.d_output, spec.config.padded, spec.config.mode) == (2, 2, True, "pool")


def test_a_head_of_two_documents_takes_four_features() -> None:
    with pytest.raises(CheckpointError, match=r"decoder/layer1 has shape \(8, 4\), expected \(16, 4\)"):
        spec_of(pair_head(8, 4))


def test_layers_in_another_place_than_a_classifiers_are_refused() -> None:
    leaves = {tuple("mixer" if part == "seq" else part for part in key): leaf for key, leaf in tree().items()}
    with pytest.raises(CheckpointError, match="encoder/layers_0/mixer: expected encoder/layers_0/seq"):
        spec_of(leaves)


@pytest.mark.parametrize(
    "key",
    [
        ("params", "decoder", "bias"),
        ("params", "encoder", "encoder", "bias"),
        ("params", "encoder", "layers_1", "norm", "bias"),
        ("params", "encoder", "layers_1", "out2", "bias"),
        ("batch_stats", "encoder", "layers_0", "norm", "mean"),
        ("batch_stats", "encoder", "layers_1", "norm", "var"),
    ],
    ids="/".join,
)
def test_a_classifier_that_lost_an_array_is_refused(key: Key) -> None:
    with pytest.raises(CheckpointError, match=f"no {'/'.join(key)}, so"):
        spec_of(without(tree(), *key))


@pytest.mark.parametrize(
    "path", ["encoder/layers_0/seq/D_new", "encoder/layers_1/mlp/kernel", "encoder/positions", "decoder_2/kernel"]
)
def test_parameters_that_the_classifier_would_run_without_are_refused(path: str) -> None:
    key = ("params", *path.split("/"))
    with pytest.raises(CheckpointError, match=f"no S5 or S4D classifier has: {path}"):
        spec_of(tree() | {key: Leaf(key, (4,), "float32", "array")})
