"""Mixers of Mamba-1, of one head and of several: their tensors, what can be removed from them, and their norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from mamba_models import NORMED, leaves, recorded, run
from random_layers import as_layer, mamba_arrays, taken, zamba_arrays

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.find import find_layers
from last_cli.families.front import Front, front
from last_cli.families.layer import Layer
from last_cli.families.mamba import norms
from last_cli.families.mamba.mixer import heads_of
from last_cli.families.mamba.resize import resized
from last_cli.families.resizing import Shrinking
from last_cli.families.target import zero
from last_cli.formats import Leaf

TYPES = {"mamba1": "mamba", "falcon_mamba": "falcon_mamba", "jamba": "jamba", "zamba1": "zamba"}
FRONT = "../norm.weight", "../input_layernorm.weight"


def files(kind: str, **entries: Any) -> dict[str, Any]:
    return {"file:config.json": {"model_type": kind, **entries}}


def case(name: str) -> tuple[Layer, dict[str, np.ndarray]]:
    """The recorded mixer as a layer, and its leaves."""
    arrays = leaves(name)
    return as_layer({n: a for n, a in arrays.items() if n not in FRONT}, files(TYPES[name])), arrays


def some(groups: int, count: int, kept: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.sort(np.array([rng.permutation(count)[:kept] for _ in range(groups)]), axis=1)


@pytest.mark.parametrize("name", TYPES)
def test_the_plain_mixer_is_that_of_the_library(name: str) -> None:
    found, expected = run(leaves(name), recorded(name)["in"], name in NORMED), recorded(name)["out"]
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize("target", ["states", "channels", "heads"])
@pytest.mark.parametrize("name", TYPES)
def test_compacted_equals_masked(name: str, target: str) -> None:
    layer, arrays = case(name)
    if target not in layer.units:
        assert target == "heads" and name != "zamba1"
        return
    units, u = layer.units[target], recorded(name)["in"]
    index = some(units.groups, units.count, units.count // 2)
    removed = np.ones((units.groups, units.count), bool)
    np.put_along_axis(removed, index, False, axis=1)
    masked = {n: zero(a, units.segments[n], removed) if n in units.segments else a for n, a in arrays.items()}
    compact = run(taken(layer, arrays, index, target), u, name in NORMED)
    expected, dense = (run(a, u, name in NORMED) for a in (masked, arrays))
    scale = np.abs(expected).max()
    assert np.abs(dense - expected).max() > 0.01 * scale
    if target == "states" and name in NORMED:  # Zeros count in the mean of squares.
        assert np.abs(compact - expected).max() > 0.1 * scale
        assert layer.target("states").inexact and not layer.target("channels").inexact
    else:
        assert np.abs(compact - expected).max() <= 1e-9 * scale
        assert layer.target(target).inexact is None


def test_a_norm_in_front_of_another_width_is_named() -> None:
    arrays = mamba_arrays(np.random.default_rng(0))
    shapes = {("l", "0", "mixer", name): array.shape for name, array in arrays.items()} | {
        ("l", "0", "norm", "weight"): (3,)
    }
    leaves = {key: Leaf(key, shape, "float32", "array") for key, shape in shapes.items()}
    with pytest.raises(CheckpointError, match=r"\.\./norm\.weight has 3 entries but the mixer has 4"):
        find_layers(leaves, files("mamba"))


def test_states_of_zamba_are_those_of_a_head() -> None:
    layer, arrays = case("zamba1")
    assert (layer.sizes.groups, layer.units["states"].groups, layer.units["heads"].count) == (2, 2, 2)
    index = some(2, 16, 8)
    small = taken(layer, arrays, index)
    for head, kept in enumerate(index):
        np.testing.assert_array_equal(small["A_log"][head], arrays["A_log"][head][:, kept])
        rows = np.concatenate([np.arange(4), 4 + kept, 20 + kept])
        np.testing.assert_array_equal(small["x_proj_weight"][head], arrays["x_proj_weight"][head][rows])
    one = taken(layer, arrays, np.array([[1]]), "heads")
    np.testing.assert_array_equal(one["in_proj.weight"], arrays["in_proj.weight"][64:])
    np.testing.assert_array_equal(one["out_proj.weight"], arrays["out_proj.weight"][:, 32:])


@pytest.mark.parametrize("name", TYPES)
def test_energies_follow_the_states(name: str) -> None:
    layer, arrays = case(name)
    (measure, unit), energies = next(iter(layer.family.energies)), layer.family.energies
    assert (measure, unit) == ("hinf", "states")
    found = energies["hinf", "states"](arrays)
    assert found.shape == (layer.sizes.groups, 16) and (found > 0).all() and np.isfinite(found).all()
    order = np.tile(np.arange(16)[::-1], (layer.sizes.groups, 1))
    turned = taken(layer, arrays, order)
    for measured in energies.values():
        np.testing.assert_allclose(measured(turned), measured(arrays)[:, ::-1], rtol=1e-9)
    rows = leaves(name)["x_proj_weight" if name == "zamba1" else "x_proj.weight"].astype(float)
    squares = np.square(rows).sum(axis=-1).reshape(layer.sizes.groups, -1)
    np.testing.assert_allclose(energies["magnitude", "states"](arrays), squares[:, 4:20] + squares[:, 20:], rtol=1e-9)


@pytest.mark.parametrize("name", ["mamba1", "zamba1"])
def test_mean_squares_are_those_of_simulated_inputs(name: str) -> None:
    arrays = leaves(name)
    own, before = heads_of(arrays), front(arrays)
    width = len(before.weight)
    before = Front(before.weight, np.random.default_rng(1).normal(size=width) / 2)
    u = np.random.default_rng(0).standard_normal((40_000, width))
    u = u * before.weight / np.sqrt(np.mean(u**2, axis=1, keepdims=True)) + before.bias
    rows = u @ own.x.T
    x = sum(rows[k : len(rows) - 3 + k] * own.taps[:, k] for k in range(4)) + own.bias
    x = (x / (1 + np.exp(-x))).reshape(len(x), *own.step.shape)
    simulated = np.square(np.einsum("hnp,thp->thn", own.B, x)).mean(axis=0)
    found = norms.mean_squares(own, own.B, before, norms.inputs_of(own, before))
    np.testing.assert_allclose(found, simulated, rtol=0.1)


def test_an_energy_is_the_square_of_what_a_state_gives_to_a_constant_input() -> None:
    """A state that follows x alone, with B and C held at their sizes: the slower its pole, the more it gives."""
    arrays = dict(mamba_arrays(np.random.default_rng(0)))
    arrays = {name: array for name, array in arrays.items() if "layernorm" not in name}
    arrays["A_log"] = np.tile(np.log([0.01, 0.1, 1, 1, 10, 100]), (5, 1))
    arrays["x_proj.weight"] = np.ones_like(arrays["x_proj.weight"])
    found = norms.state_energies(arrays, front(arrays), None)[0]
    step = np.logaddexp(0, arrays["dt_proj.bias"].astype(float))[:, None]
    state = np.zeros((5, 6))
    for _ in range(100_000):
        state = np.exp(-np.exp(arrays["A_log"]) * step) * state + step
    own, size = heads_of(arrays), np.square(arrays["out_proj.weight"].astype(float)).sum(axis=0)
    inputs = norms.inputs_of(own, front(arrays))
    channels = size * inputs.square * norms.gate_squares(own, front(arrays))
    expected = np.einsum("pn,p->n", state**2, channels)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-6)
    assert (np.diff(found[[0, 1, 2, 4, 5]]) < 0).all() and found[2] == found[3]


def test_norms_of_b_and_c_make_states_compete() -> None:
    """A larger B of one state takes from all others, and the norm's weight counts."""
    arrays = mamba_arrays(np.random.default_rng(0))
    before = norms.state_energies(arrays, front(arrays), 1e-6)[0]
    larger = {**arrays, "x_proj.weight": arrays["x_proj.weight"].copy()}
    larger["x_proj.weight"][2] *= 10
    after = norms.state_energies(larger, front(arrays), 1e-6)[0]
    assert after[0] > before[0] and (after[1:] < before[1:]).all()
    weighed = {**arrays, "b_layernorm.weight": 2 * arrays["b_layernorm.weight"]}
    np.testing.assert_allclose(norms.state_energies(weighed, front(arrays), 1e-6)[0], 4 * before)


def test_what_does_not_fit_is_named() -> None:
    arrays, several = (draw(np.random.default_rng(0)) for draw in (mamba_arrays, zamba_arrays))

    def refused(arrays: Mapping[str, np.ndarray], words: str, kind: str = "mamba") -> None:
        with pytest.raises(CheckpointError, match=words):
            as_layer(arrays, files(kind))

    refused({n: a for n, a in arrays.items() if n != "A_log"}, r"seq: has no A_log, expected one \(channels, states\)")
    refused({**arrays, "x_proj.weight": arrays["x_proj.weight"][1:]}, r"13 rows but the step with B and C has 14")
    refused(
        {**arrays, "in_proj.weight": arrays["in_proj.weight"][1:]}, r"in_proj\.weight has 9 rows but x and z has 10"
    )
    refused({**arrays, "D": arrays["D"][None]}, r"D has shape \(1, 5\), expected \(channels,\)")
    refused({**arrays, "b_layernorm.weight": np.ones(5)}, r"b_layernorm\.weight has 5 entries but the mixer has 6")
    refused({**arrays, "conv1d.bias": np.ones(4)}, r"conv1d\.bias has 4 entries but the mixer has 5")
    refused({**arrays, "dt_proj.weight": np.ones((5, 0))}, r"dt_proj\.weight has shape \(5, 0\), expected .* 1 or more")
    refused({**several, "A_log": several["A_log"][:0]}, r"A_log has shape \(0, 5, 6\)", "zamba")
    refused({**several, "D": several["D"][:1]}, r"A_log has 2 heads but D has 1", "zamba")
    refused(arrays, "names the model type 'gpt2', expected one of mamba, falcon_mamba, jamba, zamba, or", "gpt2")
    lacking = {name: array for name, array in arrays.items() if name != "D"}
    refused(lacking, r"has .* of the family mamba but no D")


MAMBA, ZAMBA = mamba_arrays(np.random.default_rng(0), features=5), zamba_arrays(np.random.default_rng(0), features=5)
NARROW, SLIM = (draw(np.random.default_rng(0), features=2) for draw in (mamba_arrays, zamba_arrays))
SSM = {"file:config.json": {"d_model": 5, "ssm_cfg": {"layer": "Mamba1"}}}
CONVERTED = {"file:config.json": {"model_type": "mamba", "ssm_cfg": {}, "d_model": 5}}
NESTED = {"file:config.json": {"model_type": "seeing_jamba", "text_config": {"model_type": "jamba"}}}


@pytest.mark.parametrize(
    ("arrays", "config", "target", "count", "values"),
    [
        (MAMBA, files("mamba"), "states", 3, {("state_size",): 3}),
        (NARROW, files("mamba"), "channels", 4, {("expand",): 2, ("intermediate_size",): 4}),
        (MAMBA, files("falcon_mamba"), "channels", 3, {("intermediate_size",): 3}),
        (NARROW, files("jamba"), "channels", 4, {("mamba_expand",): 2}),
        (MAMBA, NESTED, "states", 3, {("text_config", "mamba_d_state"): 3}),
        (MAMBA, CONVERTED, "states", 3, {("state_size",): 3}),
        (MAMBA, SSM, "states", 3, {("ssm_cfg", "d_state"): 3}),
        (NARROW, SSM, "channels", 4, {("ssm_cfg", "expand"): 2}),
        (MAMBA, SSM, "channels", 3, {("ssm_cfg", "expand"): 0.6}),
        (ZAMBA, files("zamba"), "states", 3, {("mamba_d_state",): 3}),
        (ZAMBA, files("zamba"), "heads", 1, {("mamba_expand",): 1, ("n_mamba_heads",): 1}),
        (SLIM, files("zamba"), "channels", 3, {("mamba_expand",): 3}),
        (MAMBA, files("mamba"), "channels", 5, {}),
    ],
)
def test_the_keys_of_sizes_change(arrays: Any, config: Any, target: str, count: int, values: Any) -> None:
    layers = [as_layer(arrays, config)] * 2
    assert resized(Shrinking(config, layers, target, [count, count], {})).sizes == {"config.json": values}


def test_what_a_configuration_cannot_say_goes_with_the_modelling_file_or_is_refused() -> None:
    several = [as_layer(ZAMBA, files("zamba"))] * 2

    def told(config: Any, layers: Any, target: str, counts: list[int]) -> Any:
        found = resized(Shrinking(config, layers, target, counts, {})).sizes["config.json"]
        assert set(found) == {("last_layers",), ("auto_map",)}
        return [(w["states"], w["heads"], w["head_dim"]) for w in found[("last_layers",)]]

    assert told(files("zamba"), several, "channels", [4, 4]) == [(6, 2, 4)] * 2
    assert told(files("zamba"), several, "states", [2, 3]) == [(2, 2, 5), (3, 2, 5)]
    assert told(files("jamba"), [as_layer(MAMBA, files("jamba"))] * 2, "channels", [3, 3]) == [(6, 1, 3)] * 2
    with pytest.raises(UsageError, match=r"would keep 8 channels, and zamba has mamba_expand times its width") as e:
        resized(Shrinking(files("zamba"), several, "channels", [4, 4], {}, stock=True))
    assert e.value.args[1].startswith("⟦multiple_of 5⟧ rounds channels up")
    nested = [as_layer(MAMBA, NESTED)] * 2
    with pytest.raises(UsageError, match=r"2 to 3 states, and jamba has one .* language models alone, no seeing"):
        resized(Shrinking(NESTED, nested, "states", [2, 3], {}))


def test_lists_for_mamba_ssm_have_an_entry_for_each_layer() -> None:
    layers = [as_layer(MAMBA, SSM)] * 2
    found = resized(Shrinking(SSM, layers, "states", [2, 3], {})).sizes["config.json"]
    assert found == {("d_state_list",): [2, 3]}
    there = {"file:config.json": {**SSM["file:config.json"], "d_state_list": [6, 6]}}
    found = resized(Shrinking(there, layers, "states", [2, 2], {})).sizes["config.json"]
    assert found == {("ssm_cfg", "d_state"): 2, ("d_state_list",): [2, 2]}
    found = resized(Shrinking(SSM, layers, "channels", [2, 3], {})).sizes["config.json"]
    assert found == {("d_inner_list",): [2, 3]}
