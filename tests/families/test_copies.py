"""What repeats a model beside it is told by structure, whatever it is called; two models are both models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from trees import array, s5_at

from last_cli.base.errors import CheckpointError
from last_cli.families.find import find_layers
from last_cli.families.followers import check_moments, followers, other_weights
from last_cli.formats import Key, Leaf

CARRIED = 6  # Lambda_re, Lambda_im, B, C1, C2, log_step


def model(*root: str, head: str = "head", width: int = 3, layers: int = 2) -> dict[Key, Leaf]:
    """A stack of S5 layers with a head."""
    leaves = array(*root, head, "kernel", shape=(4, width))
    for i in range(layers):
        leaves |= s5_at(*root, f"layers_{i}", "seq")
    return leaves


def followed(leaves: dict[Key, Leaf]) -> dict[str, set[str]]:
    """For each layer, the roots of what follows it."""
    layers = find_layers(leaves)
    found: dict[str, set[str]] = {layer.name: set() for layer in layers}
    for follower in followers(layers, leaves).values():
        found[follower.layer.name].add("/".join(follower.root))
    return found


@pytest.mark.parametrize(
    "root",
    [
        "opt_state/1/0/trace",
        "opt_state/0/nu",
        "actor_opt_state/inner_state/0/mu",
        "sgd/velocity",
        "m",
        "solver/history",
        "target_network_params",
        "best_params",
        "params_ema",
        "initial",
        "teacher/params",
        "something/else",
    ],
)
@pytest.mark.parametrize("of", ["params", "state/params", "train/params/params"])
def test_what_repeats_the_parameters_follows_them(root: str, of: str) -> None:
    above, _, _ = of.partition("params")
    key = (*filter(None, above.split("/")), *root.split("/"))
    found = followed(model(*of.split("/")) | model(*key))
    assert found == {"layers_0/seq": {"/".join(key)}, "layers_1/seq": {"/".join(key)}}


@pytest.mark.parametrize(
    ("model_at", "copy_at"),
    [
        (("optimizer", "model"), ("optimizer", "opt_state", "0", "mu")),
        ((), ("ema",)),
        ((), ("zzz",)),
        (("model",), ("adam", "m")),
        (("optimizer", "target", "params"), ("optimizer", "state", "m")),
        (("params", "q", "online"), ("params", "q", "target")),
        (("params", "critic"), ("params", "critic_target")),
        (("0", "params"), ("0", "opt_state", "0", "mu")),
    ],
)
def test_the_model_is_found_wherever_it_is(model_at: Key, copy_at: Key) -> None:
    leaves = model(*model_at) | model(*copy_at)
    layers = find_layers(leaves)
    assert {key[: len(model_at)] for layer in layers for key in layer.leaves.values()} == {model_at}
    assert len(layers) == 2 and len(followers(layers, leaves)) == 2 * CARRIED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("params", "actor"), ("params", "critic")),
        (("actor_params",), ("critic_params",)),
        (("actor", "params"), ("critic", "params")),
        (("params", "source_encoder"), ("params", "target_encoder")),
        (("params", "0"), ("params", "1")),
        (("q1",), ("q2",)),
    ],
)
def test_two_models_of_equal_shapes_are_both_models(one: Key, other: Key) -> None:
    assert len(find_layers(model(*one) | model(*other))) == 4


def test_moments_of_actor_and_critic_follow_their_own() -> None:
    above = ("learner", "opt_states")
    leaves = model("learner", "params", "actor_params", "params", head="action", layers=1)
    leaves |= model("learner", "params", "critic_params", "params", head="value", layers=1)
    leaves |= model(*above, "a", "1", "0", "trace", "params", head="action", layers=1)
    leaves |= model(*above, "b", "1", "0", "trace", "params", head="value", layers=1)
    found = followed(leaves)
    assert [(name.split("/")[2], {root.split("/")[2] for root in roots}) for name, roots in found.items()] == [
        ("actor_params", {"a"}),
        ("critic_params", {"b"}),
    ]


def test_equal_models_are_told_apart_by_the_words_of_their_states() -> None:
    leaves = model("actor_params", layers=1) | model("critic_params", layers=1)
    leaves |= model("actor_opt_state", "0", "mu", layers=1) | model("critic_opt_state", "0", "mu", layers=1)
    assert followed(leaves) == {
        "actor_params/layers_0/seq": {"actor_opt_state/0/mu"},
        "critic_params/layers_0/seq": {"critic_opt_state/0/mu"},
    }


def test_moments_that_may_be_of_either_model_are_refused() -> None:
    leaves = model("a", "params", layers=1) | model("b", "params", layers=1) | model("opt_state", "mu", layers=1)
    with pytest.raises(CheckpointError, match=r"opt_state/mu/layers_0/seq/.*: may follow layer"):
        followers(find_layers(leaves), leaves)


@pytest.mark.parametrize(("one", "other"), [("student", "teacher"), ("params", "ema_params")])
def test_a_deeper_model_is_no_copy_of_a_shallower_one(one: str, other: str) -> None:
    leaves = model(one, layers=1) | model(other, layers=2)
    layers = find_layers(leaves)
    assert len(layers) == 3 and not followers(layers, leaves)


def test_a_model_beside_params_with_another_head_is_a_model() -> None:
    assert len(find_layers(model("params") | model("critic_params", width=1))) == 4


def test_the_state_of_an_optimizer_alone_is_no_model() -> None:
    with pytest.raises(CheckpointError, match="but in the state of an optimizer"):
        find_layers(model("0", "mu") | model("0", "nu"))


@pytest.mark.parametrize(("one", "other"), [("encoder", "mu"), ("mu", "nu"), ("vae/mean", "vae/mu")])
def test_modules_named_like_moments_are_models(one: str, other: str) -> None:
    heads = [("params", *head.split("/")) for head in (one, other)]
    moments = model("opt_state", "0", "mu", *heads[0][1:]) | model("opt_state", "0", "mu", *heads[1][1:])
    leaves = model(*heads[0]) | model(*heads[1])
    for tree in (leaves, leaves | moments):
        layers = find_layers(tree)
        assert len(layers) == 4
        assert list(other_weights(layers, followers(layers, tree))) == []
    assert set().union(*followed(leaves).values()) == set()
    found = followers(layers, leaves | moments)
    assert len(found) == 4 * CARRIED
    assert all(key[3:] == follower.parameter[1:] for key, follower in found.items())


def test_moments_inside_params_are_no_models() -> None:
    assert len(find_layers(model("params", "net") | model("params", "opt", "0", "mu", "net"))) == 2


def test_factored_and_flat_moments_follow() -> None:
    leaves = s5_at("params", "ssm")
    state = ("opt_state", "0")
    factored = array(*state, "v_row", "ssm", "B", shape=(12, 2)) | array(*state, "v_col", "ssm", "B", shape=(4, 2))
    flat = array("optimizer", "state", "param_states", "ssm", "B", "grad_ema", shape=(12, 4, 2))
    found = followers(find_layers(leaves), leaves | factored | flat)
    assert {key[-1]: f.without for key, f in found.items() if key in flat} == {"grad_ema": None}
    assert [found[key].without for key in factored] == [1, 0]


def test_other_weights_are_said_and_moments_are_not() -> None:
    leaves = model("params") | model("target_params") | model("opt_state", "0", "mu") | model("1", "ema")
    layers = find_layers(leaves)
    assert list(other_weights(layers, followers(layers, leaves))) == [
        "target_params: the weights of params once more, which lose the same states",
        "1/ema: an average of params, which loses the same states",
    ]


def moments(name: str, layers: int, without: Key = ()) -> dict[Key, Leaf]:
    """State of an optimizer for `model`; one leaf is lost."""
    leaves = {("opt_state", "0", name, *key): leaf for key, leaf in model(layers=layers).items()}
    return {key: leaf for key, leaf in leaves.items() if not without or key[-len(without) :] != without}


@pytest.mark.parametrize("leaf", ["D", "B", "log_step"])
@pytest.mark.parametrize(
    ("states", "said"),
    [
        (lambda leaf: moments("mu", 2, ("layers_1", "seq", leaf)), "mu/layers_1/seq: has no {}, but .*mu/layers_0/seq"),
        (lambda leaf: moments("mu", 1) | moments("nu", 1, ("seq", leaf)), "nu/layers_0/seq: has no {}, but .*mu/layer"),
        (lambda leaf: moments("trace", 3, ("layers_0", "seq", leaf)), "trace/layers_0/seq: has no {}, but "),
    ],
)
def test_a_moment_that_lost_a_leaf_is_named(states: Callable[[str], dict[Key, Leaf]], said: str, leaf: str) -> None:
    state = states(leaf)
    leaves = model("params", layers=len({key[3] for key in state if "layers" in key[3]})) | state
    with pytest.raises(CheckpointError, match=said.format(leaf)):
        check_moments(followers(find_layers(leaves), leaves), leaves)


def test_moments_that_all_layers_lack_are_masked() -> None:
    state = moments("mu", 2, ("seq", "D")) | moments("nu", 2, ("seq", "D"))
    frozen = {key: leaf for key, leaf in state.items() if "layers_0" not in key}
    for leaves in (model("params") | state, model("params") | frozen):
        check_moments(followers(find_layers(leaves), leaves), leaves)
