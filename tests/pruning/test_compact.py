"""Layers that lose all their states: one stays in the arrays with B = C = 0, and is never counted as a state again."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from commands import Run, data
from hypothesis import given
from hypothesis import strategies as st
from random_layers import KINDS, LAYOUTS, as_layer, classifier, fixed, leaves_of, leaves_with, simulate, write
from random_networks import TEMPORARY, held, reopened, shared

import last_cli as last
from last_cli.families.find import build_system, find_layers
from last_cli.families.lti.system import hinf_norm
from last_cli.pruning import select as selection
from last_cli.pruning.cut import Cut

every_kind = pytest.mark.parametrize("kind", KINDS)
every_padding = pytest.mark.parametrize("kind", LAYOUTS)
every_emptying_criterion = pytest.mark.parametrize("criterion", ["hinf", "magnitude", "random", "aire"])
EMPTYING = {"criterion": "hinf", "min_states": 0}


@cache
def unequal(kind: str, moments: bool = False) -> last.Checkpoint:
    """A classifier whose first layer has a hundredth of the others' readout, opened with the kind's configuration."""
    arrays = classifier(kind, blocks=3)
    first = find_layers(leaves_of(arrays))[0]
    for name in leaves_with(first, "readout"):
        arrays[first.leaves[name]] = arrays[first.leaves[name]] / 100
    if moments:
        arrays |= {("opt_state", "0", m, *k[1:]): 1 + a for m in ("mu", "nu") for k, a in arrays.items()}
    config = KINDS[kind].config
    options = {name: getattr(config, name) for name in ("conj_sym", "clip_eigs", "discretization", "step_rescale")}
    return held(last.load(write(Path(TEMPORARY.name) / f"unequal-{kind}-{moments}", arrays), **options))


@every_kind
@pytest.mark.parametrize("masked", [False, True])
def test_an_emptied_layer_reads_as_one_without_states(kind: str, masked: bool, tmp_path: Path) -> None:
    ck = unequal(kind)
    small = last.prune(ck, 0.5, masked=masked, **EMPTYING)
    loaded = reopened(small, tmp_path / "pruned") if kind in LAYOUTS else small
    first, *others = loaded.layers
    assert small.report is not None and small.report.layers[0].after == 0
    assert small.report.layers[0].stored == first.sizes.states == (6 if masked else 1)
    assert loaded.stamp["pruned"][0]["layers"][0]["kept"] in ([], [[]] * 4)
    arrays, system = loaded.arrays(first), loaded.system(first)
    assert not any(arrays[name].any() for name in leaves_with(first, "input") | leaves_with(first, "readout"))
    assert not system.live_mask.any()
    assert (np.abs(system.lam) < 1).all()
    u = np.random.default_rng(0).normal(size=(20, first.sizes.features))
    np.testing.assert_allclose(simulate(system, u), system.D * u, atol=1e-12)
    assert last.score(loaded).layers[0].states == 0
    assert all(loaded.system(layer).live_mask.any() for layer in others)
    assert last.verify(loaded, ck).passed


@every_padding
def test_it_stays_empty_through_further_prunings(kind: str, tmp_path: Path) -> None:
    ck = unequal(kind)
    loaded, states = ck, [last.score(ck).states]
    for name, options in {"one": EMPTYING, "two": {}, "three": {"criterion": "random"}}.items():
        loaded = reopened(last.prune(loaded, 0.5, **options), tmp_path / name)
        report = last.score(loaded)
        assert report.layers[0].states == 0
        assert loaded.layers[0].sizes.states == 1
        states.append(report.states)
        assert last.verify(loaded, ck).passed
    groups = loaded.layers[0].sizes.groups  # of S4D whole columns stay
    assert states[2:] == [n // groups * groups for n in (states[1] // 2, states[2] // 2)]
    assert last.prune(loaded, 0.5, min_states=3).layers[0].sizes.states == 1


@every_padding
def test_a_layer_that_is_emptied_after_it_was_cut_verifies_against_the_original(kind: str, tmp_path: Path) -> None:
    ck = unequal(kind)
    cut = reopened(last.prune(ck, 0.4, scope="layer"), tmp_path / "cut")
    emptied = reopened(last.prune(cut, 0.6, **EMPTYING), tmp_path / "emptied")
    assert last.score(emptied).layers[0].states == 0
    assert last.verify(emptied, ck).passed
    assert last.verify(emptied, cut).passed


@pytest.mark.parametrize("masked", [False, True])
def test_moments_follow_and_have_no_moment_where_b_and_c_are_zero(masked: bool, tmp_path: Path) -> None:
    ck = unequal("s5-two-directions", moments=True)
    loaded = reopened(last.prune(ck, 0.5, masked=masked, **EMPTYING), tmp_path / "pruned")
    (layer, *_), own = loaded.layers, loaded.arrays(loaded.layers[0])
    for name, key in layer.leaves.items():
        for moment in ("mu", "nu"):
            found = loaded.read([("opt_state", "0", moment, *key[1:])])[("opt_state", "0", moment, *key[1:])]
            assert found.shape == own[name].shape
            silent = name in leaves_with(layer, "input") | leaves_with(layer, "readout")
            wanted = np.zeros_like(found) if silent else 1 + own[name]
            np.testing.assert_array_equal(found, wanted)


@every_emptying_criterion
def test_criteria_may_empty_layers_down_to_the_asked_count(criterion: str) -> None:
    ck = shared(blocks=3)
    small = last.prune(ck, 0.95, criterion=criterion, min_states=0)
    assert small.report is not None and small.report.states == (18, 0)
    assert [layer.sizes.states for layer in small.layers] == [1, 1, 1]
    assert len(small.report.warnings) == 3


@pytest.mark.parametrize("criterion", ["last", "last-reference"])
def test_last_never_empties_a_layer(criterion: str, tmp_path: Path) -> None:
    small = last.prune(unequal("s5-two-directions"), 0.99, criterion=criterion, min_states=0)
    assert small.report is not None and all(layer.after for layer in small.report.layers)


def test_every_layer_keeps_one_unless_asked_otherwise(tmp_path: Path) -> None:
    report = last.prune(unequal("s5-two-directions"), 0.5, criterion="hinf").report
    assert report is not None and report.layers[0].after == 1


@pytest.mark.parametrize("options", [{}, {"shape": "rectangular"}, {"scope": "layer"}])
@pytest.mark.parametrize("kind", ["s5-two-directions", "s4d", "s4d-pairs"])
def test_shape_and_scope_agree_with_it(kind: str, options: dict, tmp_path: Path) -> None:
    ck = unequal(kind)
    small = last.prune(ck, 0.9, criterion="magnitude", min_states=0, **options)
    assert small.report is not None
    loaded = reopened(small, tmp_path / "pruned")
    assert [s.states for s in last.score(loaded).layers] == [layer.after for layer in small.report.layers]
    assert last.verify(loaded, ck).passed


def test_reconstruct_may_empty_a_layer(tmp_path: Path) -> None:
    ck = unequal("s5-two-directions")
    small = last.prune(ck, 0.99, method="reconstruct", min_states=0)
    assert small.report is not None and [layer.after for layer in small.report.layers] == [0, 0, 0]
    loaded = reopened(small, tmp_path / "pruned")
    assert last.score(loaded).states == 0
    assert last.verify(loaded, ck).passed
    again = last.prune(loaded, 0.5, method="reconstruct", min_states=0)
    assert again.report is not None and again.report.states == (0, 0)


@fixed
@given(kind=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 1000), data=st.data())
def test_a_standin_is_silent_whichever_state_it_is(kind: str, seed: int, data: st.DataObject) -> None:
    layer, arrays = KINDS[kind].layer(seed)
    groups, states = layer.sizes.groups, layer.sizes.states
    keep, standin = np.zeros((groups, states), bool), np.full((groups, 1), data.draw(st.integers(0, states - 1)))
    cuts = {name: Cut(where, keep, False, standin) for name, where in layer.units["states"].segments.items()}
    cut = {name: cuts[name].apply(a) if name in cuts else a for name, a in arrays.items()}
    assert all(cut[name].shape == cuts[name].shape(arrays[name].shape) for name in cuts)
    config = KINDS[kind].config
    system, before = build_system(as_layer(cut), cut, config), build_system(layer, arrays, config)
    assert not system.live_mask.any() and not hinf_norm(system).any()
    np.testing.assert_array_equal(system.lam, np.take_along_axis(before.lam, standin, axis=1))


def test_nothing_kept_is_stored_as_one() -> None:
    assert selection.stored(np.zeros((3, 4), bool)) == 1
    assert selection.indices(np.zeros((3, 4), bool)).tolist() == [[-1]] * 3


@pytest.mark.parametrize(("kind", "extra"), [("s5-two-directions", []), ("s4d", ["--masked"]), ("s4d-pairs", [])])
def test_the_commands_agree(kind: str, extra: list[str], run: Run, tmp_path: Path) -> None:
    (tmp_path / "ckpt").symlink_to(unequal(kind).source.path)
    options = ["--ratio", "0.5", "--criterion", "hinf", "--min-states", "0"]
    scored = data(run, "score", "ckpt", *options)
    pruned = data(run, "prune", "ckpt", *options, *extra, "-o", "pruned")
    assert scored["layers"][0]["kept"] == pruned["layers"][0]["after"] == 0
    assert pruned["layers"][0]["stored"] == (6 if extra else 1)
    assert any("no state is left" in warning for warning in pruned["warnings"])
    again = data(run, "score", "pruned", "--per-state")
    assert again["layers"][0]["states"] == 0
    assert again["states"] == pruned["states"]["after"]
    assert np.size(again["layers"][0]["per_state"]["hinf"]) == 0
    assert any("no state of it is live" in warning for warning in data(run, "inspect", "pruned")["warnings"])
    assert data(run, "verify", "pruned", "--against", "ckpt")["passed"]
    assert data(run, "diff", "ckpt", "pruned", code=1)["layers"][0]["states"][1] == 0
    data(run, "prune", "pruned", "--ratio", "0.3", "-o", "twice")
    assert data(run, "verify", "twice", "--against", "pruned")["passed"]
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "task.npz", x=rng.integers(0, 7, (6, 9)), y=rng.integers(0, 5, 6))
    assert 0 <= data(run, "eval", "pruned", "--task", "task.npz", "--baseline", "ckpt")["accuracy"] <= 1
    json.loads((tmp_path / "pruned" / "last.json").read_text())
