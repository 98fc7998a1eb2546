"""Layers are found by their leaf names anywhere in a tree, and damaged ones are refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest
from random_layers import KINDS, leaves_of
from trees import array, s5_at

from last_cli.base.errors import CheckpointError
from last_cli.families.find import build_system, find_layers, natural
from last_cli.families.followers import followers
from last_cli.families.lti.config import ModelConfig
from last_cli.formats import Key, Leaf


def names(leaves: Mapping[Key, Leaf]) -> list[str]:
    return [layer.name for layer in find_layers(leaves)]


def test_layers_10_comes_after_layers_9() -> None:
    order = [f"encoder/layers_{i}/seq" for i in range(12)]
    leaves = {}
    for name in sorted(order):
        leaves |= s5_at("params", *name.split("/"))
    assert names(leaves) == order


def test_natural_order_mixes_names_and_numbers() -> None:
    keys = [("a", "b10"), ("a", "b9"), ("a", "b"), ("10",), ("9",), ("a", "b9c"), ("a",)]
    assert sorted(keys, key=natural) == [("9",), ("10",), ("a",), ("a", "b"), ("a", "b9"), ("a", "b9c"), ("a", "b10")]


@pytest.mark.parametrize(
    ("node", "name"),
    [
        (("params", "encoder", "layers_0", "seq"), "encoder/layers_0/seq"),
        (("state", "params", "encoder", "layers_0", "seq"), "encoder/layers_0/seq"),
        (("model", "deep", "down", "there"), "model/deep/down/there"),
        (("0", "params", "ssm"), "ssm"),
        (("params", "params", "ssm"), "ssm"),
        (("params", "a.b/c", "ssm"), "a.b/c/ssm"),
    ],
)
def test_layers_are_found_anywhere_and_named_below_the_parameters(node: Key, name: str) -> None:
    assert names(s5_at(*node) | array("params", "decoder", "kernel")) == [name]


def test_a_layer_knows_its_family_its_sizes_and_its_own_leaves() -> None:
    leaves = s5_at("params", "ssm") | array("params", "ssm", "unrelated")
    (layer,) = find_layers(leaves)
    assert layer.family.name == "s5"
    assert (layer.sizes.states, layer.sizes.groups, layer.sizes.features, layer.sizes.directions) == (12, 1, 4, 2)
    assert dict(layer.leaves) == {key[-1]: key for key in s5_at("params", "ssm")}


def test_layers_of_several_families_are_found_side_by_side() -> None:
    leaves = {}
    for i, kind in enumerate(("s4d", "s5-one-direction", "s4d-pairs")):
        arrays = KINDS[kind].layer()[1]
        leaves |= leaves_of({("params", f"layers_{i}", name): a for name, a in arrays.items()})
    assert [layer.family.name for layer in find_layers(leaves)] == ["s4d", "s5", "s4d-pairs"]


@pytest.mark.parametrize(
    "above",
    [
        ("opt_state", "0", "mu"),
        ("opt_state", "1", "inner_states", "ssm", "inner_state", "0", "nu"),
        ("optimizer_state", "mu", "params"),
        ("ema_params",),
        ("params_ema",),
        ("state", "ema", "params"),
        ("average_params",),
    ],
)
def test_copies_of_the_parameters_are_no_layers_but_followers(above: Key) -> None:
    leaves = s5_at("params", "layers_0", "seq") | s5_at(*above, "layers_0", "seq")
    layers = find_layers(leaves)
    assert [layer.name for layer in layers] == ["layers_0/seq"]
    found = followers(layers, leaves)
    followed = {"Lambda_re", "Lambda_im", "B", "C1", "C2", "log_step"}
    assert {key: follower.leaf for key, follower in found.items()} == {
        (*above, "layers_0", "seq", n): n for n in followed
    }
    assert all(follower.layer is layers[0] for follower in found.values())


def test_followers_follow_the_layer_of_the_same_place() -> None:
    leaves = {}
    for i in (1, 10):
        leaves |= s5_at("params", f"layers_{i}", "seq") | s5_at("opt_state", "mu", f"layers_{i}", "seq")
    layers = find_layers(leaves)
    for key, follower in followers(layers, leaves).items():
        assert key[2] == follower.layer.name.split("/")[0]


def test_only_leaves_of_the_parameters_shape_are_followers() -> None:
    leaves = s5_at("params", "ssm") | s5_at("opt_state", "mu", "ssm", B=(1,), C1=(4, 11, 2))
    found = followers(find_layers(leaves), leaves)
    assert {key[-1] for key in found} == {"Lambda_re", "Lambda_im", "C2", "log_step"}


def test_leaves_that_hold_no_array_are_no_followers() -> None:
    leaves = s5_at("params", "ssm")
    key = ("opt_state", "mu", "ssm", "B")
    assert followers(find_layers(leaves), leaves | {key: Leaf(key, (), "", "none")}) == {}


def test_a_tree_without_layers_is_refused_with_what_was_seen() -> None:
    with pytest.raises(
        CheckpointError, match=r"no SSM layer found among 1 leaves; seen: params/dense/kernel"
    ) as caught:
        find_layers(array("params", "dense", "kernel"))
    assert "last list families" in caught.value.hint


@pytest.mark.parametrize("mark", "/.,")
def test_names_that_are_joined_paths_are_for_import(mark: str) -> None:
    tree = s5_at("params", "layers_0", "seq") | array("params", "decoder", "kernel")
    leaves = {(mark.join(key),): leaf for key, leaf in tree.items()}
    with pytest.raises(CheckpointError, match=f"their names are paths joined by '{re.escape(mark)}'") as caught:
        find_layers(leaves)
    assert "last import" in caught.value.hint


def test_a_single_array_has_no_name_to_part() -> None:
    with pytest.raises(CheckpointError, match="no SSM layer found among 1 leaves"):
        find_layers({(): array("kernel")["kernel",]})


def test_a_long_tree_without_layers_is_not_listed_in_full() -> None:
    leaves = {}
    for i in range(100):
        leaves |= array("params", f"dense_{i}", "kernel")
    with pytest.raises(CheckpointError, match=r"among 100 leaves; seen: .*dense_5/kernel, \.\.\.$"):
        find_layers(leaves)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"B": (11, 4, 2)}, "Lambda_re has 12 states but B has 11"),
        ({"log_step": (11, 1)}, "Lambda_re has 12 states but log_step has 11"),
        ({"Lambda_im": (6,)}, "Lambda_re has 12 states but Lambda_im has 6"),
        ({"C2": (4, 11, 2)}, "Lambda_re has 12 states but C2 has 11"),
        ({"C1": (5, 12, 2)}, "B has 4 features but C1 has 5"),
        ({"D": (5,)}, "B has 4 features but D has 5"),
        ({"B": (12, 4)}, r"B has shape \(12, 4\)"),
        ({"B": (12, 4, 3)}, "real and imaginary part last"),
        ({"log_step": (12, 1, 1)}, r"log_step has shape \(12, 1, 1\), expected \(P, 1\) or \(P,\)"),
        ({"C": (4, 18, 2)}, "Lambda_re has 12 states but C has 18 columns"),
    ],
)
def test_shapes_that_disagree_are_refused_by_layer_and_leaf(shapes: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^encoder/layers_3/seq: .*{message}") as caught:
        find_layers(s5_at("params", "encoder", "layers_3", "seq", **shapes))
    assert caught.value.hint


def test_a_layer_without_an_output_matrix_is_refused() -> None:
    leaves = {key: leaf for key, leaf in s5_at("params", "ssm").items() if key[-1] != "C2"}
    with pytest.raises(CheckpointError, match="ssm: output matrix missing: expected C, or C1 and C2"):
        find_layers(leaves)


def test_a_layer_without_states_is_refused() -> None:
    empty = {"Lambda_re": (0,), "Lambda_im": (0,), "B": (0, 4, 2), "log_step": (0, 1)}
    readouts = {"C1": (4, 0, 2), "C2": (4, 0, 2)}
    with pytest.raises(CheckpointError, match="layers_0/seq: the layer has no states"):
        find_layers(s5_at("params", "layers_0", "seq", **empty, **readouts))


@pytest.mark.parametrize(
    ("leaf", "at", "value", "message"),
    [
        ("Lambda_re", 3, np.nan, r"Lambda_re has 1 NaN value \(first at index 3\)"),
        ("B", (2, 1, 0), np.inf, r"B has 1 infinite value \(first at index \(2, 1, 0\)\)"),
        ("log_step", slice(1, 3), -np.inf, r"log_step has 2 infinite values \(first at index \(1, 0\)\)"),
        ("D", slice(2), np.nan, r"D has 2 NaN values \(first at index 0\)"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_by_layer_leaf_and_index(leaf: str, at, value, message: str) -> None:
    layer, arrays = KINDS["s5-two-directions"].layer()
    arrays[leaf][at] = value
    with pytest.raises(CheckpointError, match=f"^layers_0/seq: {message}") as caught:
        build_system(layer, arrays, ModelConfig())
    assert "earlier step" in caught.value.hint


def test_nan_and_infinite_values_are_counted_apart() -> None:
    layer, arrays = KINDS["s5-two-directions"].layer()
    arrays["B"][0, 0] = np.nan, np.inf
    with pytest.raises(CheckpointError, match="B has 1 NaN and 1 infinite values"):
        build_system(layer, arrays, ModelConfig())


@pytest.mark.parametrize("dtype", [np.float16, np.float64, "bfloat16"])
def test_leaves_of_any_precision_are_scored_in_float64(dtype) -> None:
    import ml_dtypes

    layer, arrays = KINDS["s5-two-directions"].layer()
    stored = {name: a.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype) for name, a in arrays.items()}
    system = build_system(layer, stored, ModelConfig())
    same = build_system(layer, {n: a.astype(np.float64) for n, a in stored.items()}, ModelConfig())
    assert system.lam.dtype == np.complex128
    np.testing.assert_array_equal(system.lam, same.lam)


def test_names_of_odd_digits_have_an_order() -> None:
    keys = [(name,) for name in ("layers_10", "layers_9", "9" * 5000, "²", "layers_٣")]
    assert sorted(keys, key=natural)[-1] in keys
    assert natural(("layers_9",)) < natural(("layers_10",))
