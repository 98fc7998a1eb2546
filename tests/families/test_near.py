"""Nodes that are nearly layers are named with what they lack or have too much, and with what they are."""

from __future__ import annotations

import pytest
from random_layers import KINDS, leaves_of
from trees import array, s5_at

from last_cli.base.errors import CheckpointError
from last_cli.families.find import find_layers
from last_cli.formats import Key, Leaf


def node(*path: str, **shapes: tuple[int, ...]) -> dict[Key, Leaf]:
    leaves = {}
    for name, shape in shapes.items():
        leaves |= array(*path, *name.split("__"), shape=shape)
    return leaves


@pytest.mark.parametrize("kind", ["s5-two-directions", "s5-one-direction", "s4d", "s4d-pairs", "lru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_layer_that_lost_any_leaf_is_named(kind: str, layers: int) -> None:
    leaves = {}
    for i in range(layers):
        arrays = KINDS[kind].layer()[1]
        leaves |= leaves_of({("params", f"layers_{i}", "seq", name): a for name, a in arrays.items()})
    last = f"layers_{layers - 1}"
    for key in [key for key in leaves if key[1] == last]:
        if layers == 1 and key[-1] in ("D", "B_re", "B_im") and kind not in ("lru", "s4d-pairs"):
            continue  # There are layers without.
        if key[-1] == "D" and kind == "lru" and layers == 1:
            continue
        with pytest.raises(CheckpointError, match=f"{last}/seq.*{key[-1]}|{last}/seq: output matrix missing"):
            find_layers({k: leaf for k, leaf in leaves.items() if k != key})


RELATIVES = {
    "NPLR": node(
        *("params", "layers_0", "seq"),
        **dict.fromkeys(("Lambda_re", "Lambda_im", "P", "B"), (8, 12)),
        C=(8, 12, 2),
        D=(1, 12),
        log_step=(1, 12),
    ),
    "low-rank": node(
        *("params", "kernel"),
        C=(1, 12, 8, 2),
        log_dt=(12,),
        B=(1, 8, 2),
        P=(1, 1, 8, 2),
        inv_w_real=(1, 8),
        w_imag=(1, 8),
    ),
    "DSS": node(*("params", "seq"), Lambda_re=(8, 12), Lambda_im=(8, 12), W=(1, 12, 8, 2), D=(1, 12), log_step=(1, 12)),
    "convolution": node(
        *("params", "seq"),
        Lambda_re=(8,),
        Lambda_im=(8,),
        B=(8, 54, 2),
        C=(3, 3, 8, 6, 2),
        log_step=(8, 1),
        C_D_conv__D__bias=(6,),
    ),
    "step_proj": s5_at("params", "S7_0") | array("params", "S7_0", "step_proj", "kernel", shape=(4, 12)),
    "S7": s5_at("params", "ssm") | array("params", "ssm", "Delta", "kernel", shape=(4, 12)),
    "Mamba": node("params", "mixer", A_log=(24, 16), D=(24,), in_proj__kernel=(12, 48)),
    "RG-LRU": node("params", "rg_lru", a_param=(16,), input_gate__w=(2, 8, 8), a_gate__w=(2, 8, 8)),
    "two directions": node(
        *("params", "lru"),
        **dict.fromkeys(("nu_log", "theta_log", "gamma_log"), (6,)),
        **dict.fromkeys(("B_re", "B_im"), (6, 4)),
        **dict.fromkeys(("C_re", "C_im", "C2_re", "C2_im"), (4, 6)),
    ),
    "other leaves": node("params", "lru", params_log=(3, 6), B_re=(6, 4), B_im=(6, 4), C_re=(4, 6), C_im=(4, 6)),
    "dense": node("params", "ssm", A=(8, 8), B=(8, 1), C=(1, 8), D=(1,), log_step=(1,)),
}


@pytest.mark.parametrize("what", RELATIVES)
def test_relatives_are_told_by_what_they_are(what: str) -> None:
    with pytest.raises(CheckpointError, match=what):
        find_layers(RELATIVES[what] | array("params", "decoder", "kernel"))


@pytest.mark.parametrize("extra", [("gate",), ("inner", "bias")])
def test_more_arrays_along_the_states_are_refused(extra: Key) -> None:
    leaves = s5_at("params", "ssm") | array("params", "ssm", *extra, shape=(12,))
    with pytest.raises(CheckpointError, match=rf"ssm: has all leaves of the family s5, and {'/'.join(extra)} \(12,\)"):
        find_layers(leaves)


def test_a_layer_that_lost_a_leaf_is_refused_beside_whole_ones_and_their_moments() -> None:
    leaves = s5_at("params", "layers_0", "seq") | s5_at("params", "layers_1", "seq")
    leaves |= s5_at("opt_state", "mu", "layers_0", "seq") | s5_at("opt_state", "mu", "layers_1", "seq")
    del leaves["params", "layers_1", "seq", "Lambda_re"]
    with pytest.raises(CheckpointError, match=r"^layers_1/seq: has .* of the family s5 but no Lambda_re") as caught:
        find_layers(leaves)
    assert "lost or renamed" in caught.value.hint


@pytest.mark.parametrize("left", [{"B", "D", "C1"}, {"D"}, {"Lambda_im"}])
def test_a_layer_that_lost_most_leaves_is_named_beside_whole_ones(left: set[str]) -> None:
    leaves = s5_at("params", "layers_0", "seq") | s5_at("params", "layers_1", "seq")
    leaves = {key: leaf for key, leaf in leaves.items() if key[1] != "layers_1" or key[-1] in left}
    with pytest.raises(CheckpointError, match=r"^layers_1/seq: has .* of the family s5 but no "):
        find_layers(leaves)
    attention = array("params", "layers_1", "seq", "query", "kernel") | array("params", "layers_1", "seq", "scale")
    assert len(find_layers(s5_at("params", "layers_0", "seq") | attention)) == 1


def test_moments_that_are_masked_are_no_layers_that_lost_leaves() -> None:
    leaves = s5_at("params", "ssm")
    masked = {key: leaf for key, leaf in s5_at("opt_state", "0", "mu", "ssm").items() if key[-1] not in ("B", "D")}
    assert len(find_layers(leaves | masked)) == 1


@pytest.mark.parametrize(
    ("around", "said", "not_said"),
    [((5, 3), "jax.vmap", "nn.scan"), ((3,), "nn.scan", "jax.vmap"), (None, "jax.vmap", "several layers")],
)
def test_a_leading_axis_is_explained_by_what_has_it(around: tuple | None, said: str, not_said: str) -> None:
    leaves = {key: Leaf(key, (5, *leaf.shape), leaf.dtype, leaf.kind) for key, leaf in s5_at("params", "ssm").items()}
    leaves |= array("params", "decoder", "bias", shape=around) if around else {}
    with pytest.raises(CheckpointError) as caught:
        find_layers(leaves)
    assert said in caught.value.hint and not_said not in caught.value.hint


@pytest.mark.parametrize("root", [(), ("params",), ("model",)])
def test_models_of_several_seeds_are_told_beside_what_has_no_such_axis(root: Key) -> None:
    """Counters, the state of an optimizer, and a table that all share."""
    leaves = s5_at(*root, "layers_0", "seq") | s5_at(*root, "layers_1", "seq")
    leaves |= array(*root, "encoder", "kernel", shape=(3, 4)) | array(*root, "decoder", "kernel", shape=(4, 2))
    leaves = {key: Leaf(key, (5, *leaf.shape), leaf.dtype, leaf.kind) for key, leaf in leaves.items()}
    leaves |= array("step", shape=()) | array(*root, "table", shape=(7, 3)) | array("opt_state", "mu", "x", shape=(2,))
    with pytest.raises(CheckpointError) as caught:
        find_layers(leaves)
    assert "jax.vmap" in caught.value.hint and "nn.scan" not in caught.value.hint


def test_a_matrix_of_feedthrough_is_one_of_other_outputs() -> None:
    leaves = s5_at("params", "ssm", C1=(8, 12, 2), C2=(8, 12, 2), D=(8, 4))
    assert find_layers(leaves)[0].sizes.outputs == 8
    with pytest.raises(CheckpointError, match="D has 3"):
        find_layers(s5_at("params", "ssm", C1=(8, 12, 2), C2=(8, 12, 2), D=(8, 3)))


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("DSS", {"Lambda": (8, 2), "W": (1, 12, 8, 2), "D": (12,), "log_dt": (12,)}),
        ("an LRU with other leaves", {"params_log": (3, 8), "B": (8, 12, 2), "C": (12, 8, 2), "D": (12,)}),
        ("RG-LRU", {"a_param": (12,), "input_gate__w": (2, 6, 6)}),
    ],
)
def test_a_relative_among_layers_of_ours_is_not_passed_over(kind: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Though it has no leaf of the family that says anything."""
    with pytest.raises(CheckpointError, match=f"layers_1/seq: .*It is {kind}"):
        find_layers(s5_at("params", "layers_0", "seq") | node("params", "layers_1", "seq", **shapes))


@pytest.mark.parametrize("more", [("C1",), ("C1", "C2")])
def test_an_output_matrix_too_many(more: tuple[str, ...]) -> None:
    leaves = {("params", "seq", name): a for name, a in KINDS["s5-two-directions"].layer()[1].items()}
    one = {("params", "seq", name): a for name, a in KINDS["s5-one-direction"].layer()[1].items()}
    leaves = {**leaves, **one, **{("params", "seq", name): one[("params", "seq", "C")] for name in more}}
    with pytest.raises(CheckpointError, match="has C and another output matrix"):
        find_layers(leaves_of(leaves))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (node("params", "mix", A_log=(8, 4), D=(8,), x_proj__kernel=(8, 12), dt_proj__kernel=(4, 8)), "Mamba-1"),
        (node("params", "mix", **dict.fromkeys(("alpha", "beta", "delta"), (8, 4, 1)), gamma=(8, 4)), "of Mega"),
        (node("params", "mix", **dict.fromkeys(("damping_factor", "decay_factor"), (8, 4, 1))), "of Mega"),
    ],
)
def test_relatives_among_our_layers_are_not_passed_over(other: dict[Key, Leaf], said: str) -> None:
    with pytest.raises(CheckpointError, match=f"mix: .*It is a .*{said}"):
        find_layers(s5_at("params", "layers_0", "seq") | other)
