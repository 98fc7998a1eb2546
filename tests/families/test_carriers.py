"""Arrays that hold states apart from a layer are found in trees with `params` and without."""

from __future__ import annotations

import pytest
from trees import array, s5_at

from last_cli.families.carriers import carriers
from last_cli.families.find import find_layers
from last_cli.families.followers import followers
from last_cli.formats import Key, Leaf

TOTAL = 2 * (12 + 12 + 12 * 4 * 2 + 4 * 12 * 2 + 4 * 12 * 2 + 4 + 12) + 3 * 4 + 4 * 2


def model(*root: str) -> dict[Key, Leaf]:
    leaves = s5_at(*root, "layers_0", "seq") | s5_at(*root, "layers_1", "seq")
    return leaves | array(*root, "encoder", shape=(3, 4)) | array(*root, "decoder", shape=(4, 2))


def found(leaves: dict[Key, Leaf]) -> set[str]:
    layers = find_layers(leaves)
    known = {*followers(layers, leaves), *(key for layer in layers for key in layer.leaves.values())}
    return {"/".join(key) for key in carriers(layers, leaves, known, leaves)}


@pytest.mark.parametrize("root", [("params",), ("model",), ()])
@pytest.mark.parametrize(
    ("key", "shape"),
    [
        (("opt_state", "mu"), (TOTAL,)),  # optax.flatten
        (("optimizer", "0", "carry"), (7, 12)),
        (("{root}", "layers_1", "start"), (12,)),
        (("{root}", "layers_0", "start"), (1, 12, 2)),
    ],
)
def test_states_apart_from_a_layer(root: Key, key: Key, shape: tuple[int, ...]) -> None:
    place = tuple(part for each in key for part in (root if each == "{root}" else (each,)))
    assert found(model(*root) | array(*place, shape=shape)) == {"/".join(place)}


@pytest.mark.parametrize("root", [("params",), ("model",)])
def test_hidden_states_beside_the_model(root: Key) -> None:
    assert found(model(*root) | array("hidden", "rnn", shape=(7, 12))) == {"hidden/rnn"}


@pytest.mark.parametrize("root", [("params",), ("model",), ()])
def test_other_arrays_of_a_model_are_none(root: Key) -> None:
    """A head of as many classes as states, and a norm."""
    more = array(*root, "head", "kernel", shape=(4, 12)) | array(*root, "head", "bias", shape=(12,))
    more |= array(*root, "layers_0", "norm", shape=(4,)) | array("opt_state", "mu", "head", "kernel", shape=(4, 12))
    assert found(model(*root) | more) == set()


def test_a_block_is_no_model() -> None:
    leaves = s5_at("layers_0", "mixer", "seq") | array("encoder", shape=(3, 4)) | array("decoder", shape=(4, 12))
    assert found(leaves) == set()
