"""Whole checkpoints through `balanced`: what is written is the reduced system, within its bound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_layers import KINDS, LAYOUTS, classifier, simulate
from random_networks import balanced, features, reopened, report_of, shared

import last_cli as last
from last_cli.base.errors import UnstableStateError, UsageError
from last_cli.display.forms import text
from last_cli.display.prune import prune_view
from last_cli.families.lti.system import System, subtract, transfer_gain
from last_cli.families.target import put, zero
from last_cli.pruning.calibration.measurements import logits
from last_cli.pruning.compact import compact
from last_cli.pruning.select import Shape

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def with_padding(ck: last.Checkpoint) -> last.Checkpoint:
    """The first state of the first layer's first systems is padding."""
    layer = ck.layers[0]
    units, arrays = layer.units["states"], ck.arrays(layer)
    padding = np.zeros((units.groups, units.count), bool)
    padding[: max(1, units.groups // 2), 0] = True
    silent = {layer.leaves[name]: zero(arrays[name], where, padding) for name, where in units.segments.items()}
    return replace(ck, changed={**ck.changed, **silent})


def quiet(system: System) -> System:
    return replace(system, D=0 * system.D)


@every_kind
@pytest.mark.parametrize("ratio", [0.3, 0.8])
def test_the_saved_layers_differ_by_no_more_than_the_bound(kind: str, ratio: float, tmp_path: Path) -> None:
    ck = shared(kind)
    small = balanced(ck, ratio)
    loaded = reopened(small, tmp_path / "out") if kind in LAYOUTS else small
    assert loaded.config == replace(ck.config) and loaded.digest == small.digest
    before, after = report_of(small).states
    assert after <= before - round(ratio * before) + 1
    for old, new, found in zip(ck.layers, loaded.layers, report_of(small).layers, strict=True):
        change = subtract(ck.system(old), loaded.system(new))
        assert found.gain_bound is not None
        assert transfer_gain(change, np.linspace(0, np.pi, 257)) <= found.gain_bound * (1 + 1e-9) + 1e-12
        assert int(loaded.system(new).live_mask.sum()) == found.after


@every_kind
@pytest.mark.parametrize("masked", [False, True])
def test_the_norm_of_the_change_lies_in_its_interval(kind: str, masked: bool) -> None:
    ck = shared(kind)
    small = balanced(ck, 0.3, masked=masked)
    layers = json.loads(json.dumps(report_of(small).as_json()))["layers"]
    for old, new, found in zip(ck.layers, small.layers, layers, strict=True):
        lower, upper = found["difference_hinf"]["lower"], found["difference_hinf"]["upper"]
        change = subtract(ck.system(old), small.system(new))
        assert transfer_gain(change, np.linspace(0, np.pi, 1025)) <= upper * (1 + 1e-9) + 1e-12
        assert lower <= upper <= found["gain_bound"] * (1 + 1e-9)
        assert upper <= 1.1 * lower * (1 + 1e-9)


def test_what_is_not_compared_is_not_reported() -> None:
    for draft in (False, True):
        report = report_of(balanced(shared(), 0.5, draft=draft))
        assert ("difference_hinf" in report.as_json()["layers"][0]) is not draft
        view = prune_view(report)
        assert ("white error" in " ".join(view.details)) is not draft
        assert ("white error" in text(view, "md")) is not draft


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"s5-clipped"}))  # whose responses are too long
def test_the_white_error_is_that_of_the_simulated_responses(kind: str) -> None:
    ck = shared(kind, blocks=1, features=3)
    small = balanced(ck, 0.5)
    u = np.zeros((801, 3))
    whole = wrong = 0.0
    for i in range(3):
        u[:], u[400, i] = 0, 1
        y = simulate(quiet(ck.system(ck.layers[0])), u)
        whole += (y**2).sum()
        wrong += ((simulate(quiet(small.system(small.layers[0])), u) - y) ** 2).sum()
    np.testing.assert_allclose(report_of(small).differences[0].h2, np.sqrt(wrong / whole), rtol=1e-2)


@every_kind
def test_removing_nothing_changes_no_bit(kind: str, tmp_path: Path) -> None:
    small = balanced(shared(kind), 0.0)
    found = (reopened(small, tmp_path / "out") if kind in LAYOUTS else small).read(small.leaves)
    for key, array in classifier(kind).items():
        assert found[key].tobytes() == array.tobytes(), key
    assert all(layer.gain_bound == 0 for layer in report_of(small).layers)


def test_systems_that_lose_nothing_stay_bit_equal_beside_those_that_do() -> None:
    ck = shared("s4d")
    small = balanced(ck, 0.05, shape="ragged")
    equal = []
    for old, new in zip(ck.layers, small.layers, strict=True):
        before, after, live = ck.arrays(old)["A_re"], small.arrays(new)["A_re"], small.system(new).live_mask
        whole = live.sum(axis=1) == before.shape[0]
        equal += [(before[:, g] == after[:, g]).all() for g in np.flatnonzero(whole)]
        assert not (after[:, ~whole] == before[: len(after), ~whole]).all()
    assert equal and all(equal)


def test_a_pair_stored_twice_costs_nothing() -> None:
    """Without conjugate symmetry both halves are stored, and half of the states are redundant."""
    ck = shared("s5-without-pairs", blocks=1)
    layer = ck.layers[0]
    arrays = ck.arrays(layer)
    for name, array in arrays.items():
        if name in layer.units["states"].segments:
            half = np.split(np.moveaxis(array, 1 if name == "C" else 0, 0), 2)[0]
            mirrored = half * np.array([1, -1]) if name in ("B", "C") else -half if name == "Lambda_im" else half
            arrays[name] = np.moveaxis(np.concatenate([half, mirrored]), 0, 1 if name == "C" else 0)
    ck = replace(ck, changed={layer.leaves[name]: array for name, array in arrays.items()})
    small = balanced(ck, 0.5)
    u = np.random.default_rng(0).normal(size=(60, 4))
    wanted = simulate(ck.system(layer), u)
    np.testing.assert_allclose(simulate(small.system(small.layers[0]), u), wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("kind", "shape"),
    [*((kind, "ragged") for kind in sorted(KINDS)), ("s4d", "rectangular"), ("s4d-pairs", "rectangular")],
)
def test_masked_keeps_all_shapes_and_gives_the_same_outputs(kind: str, shape: Shape) -> None:
    ck = with_padding(shared(kind))
    small, masked = (balanced(ck, 0.5, shape=shape, masked=masked) for masked in (False, True))
    assert {key: leaf.shape for key, leaf in masked.leaves.items()} == {k: leaf.shape for k, leaf in ck.leaves.items()}
    u = np.random.default_rng(0).normal(size=(20, 4))
    for cut, layer in zip(small.layers, masked.layers, strict=True):
        wanted = simulate(small.system(cut), u)
        np.testing.assert_allclose(simulate(masked.system(layer), u), wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("kind", "shape"), [("s5-two-directions", "ragged"), ("s4d", "ragged"), ("s4d-pairs", "rectangular")]
)
def test_masked_gives_the_same_logits(kind: str, shape: Shape, tmp_path: Path) -> None:
    ck = with_padding(shared(kind))
    small = balanced(ck, 0.5, shape=shape)
    masked = reopened(balanced(ck, 0.5, shape=shape, masked=True), tmp_path / "out")
    assert {key: leaf.shape for key, leaf in masked.leaves.items()} == {k: leaf.shape for k, leaf in ck.leaves.items()}
    wanted = logits(small, features(3))
    np.testing.assert_allclose(logits(masked, features(3)), wanted, atol=1e-5 * np.abs(wanted).max())


@every_kind
def test_masked_leaves_other_places_as_any_masked_pruning_does(kind: str) -> None:
    ck = with_padding(shared(kind))
    small = balanced(ck, 0.5, masked=True)
    keep = {layer.name: small.system(layer).live_mask for layer in small.layers}
    plain = compact(ck, keep, {}, masked=True)
    for layer, found in zip(ck.layers, report_of(small).layers, strict=True):
        assert (found.after, found.stored) == (int(keep[layer.name].sum()), layer.sizes.states)
        ours, theirs = small.arrays(layer), plain.arrays(layer)
        for name, where in layer.units["states"].segments.items():
            rest = [put(one[name], where, keep[layer.name], np.zeros_like(one[name])) for one in (ours, theirs)]
            assert rest[0].tobytes() == rest[1].tobytes()
    (step,) = small.stamp["pruned"]
    assert step["masked"] and report_of(small).as_json()["masked"]
    same = balanced(ck, 0.5).stamp["pruned"][0]
    assert [entry["kept"] for entry in step["layers"]] == [entry["kept"] for entry in same["layers"]]


def test_a_layer_without_states_is_said_to_be_empty() -> None:
    ck = shared("s5-one-direction")
    key = ck.layers[0].leaves["C"]
    ck = replace(ck, changed={**ck.changed, key: ck.read([key])[key] * np.float32(1e-3)})
    for masked in (False, True):
        small = balanced(ck, 0.7, min_states=0, masked=masked)
        first = report_of(small).layers[0]
        assert (first.after, first.stored) == (0, ck.layers[0].sizes.states if masked else 1)
        assert any("no state is left" in line for line in report_of(small).warnings)
        assert not small.system(small.layers[0]).live_mask.any()


@pytest.mark.parametrize("kind", ["s4d", "s4d-pairs-two-directions"])
@pytest.mark.parametrize("shape", ["ragged", "rectangular"])
def test_channels_are_padded_or_even(kind: str, shape: Shape, tmp_path: Path) -> None:
    small = balanced(shared(kind), 0.5, shape=shape)
    loaded = reopened(small, tmp_path / "out")
    live = [loaded.system(layer).live_mask for layer in loaded.layers]
    assert sum(int(m.sum()) for m in live) == report_of(small).states[1]
    if shape == "rectangular":
        assert all(m.all() for m in live)


def test_conjugate_pairs_are_still_read_as_pairs(tmp_path: Path) -> None:
    """New poles stay on the side of the old ones: both signs would read as both halves being stored."""
    small = balanced(last.load(shared().source.path), 0.5)
    assert reopened(small, tmp_path / "out").config.conj_sym
    assert all((small.arrays(layer)["Lambda_im"] <= 0).all() for layer in small.layers)


@pytest.mark.parametrize("masked", [False, True])
def test_verify_holds_the_new_poles_to_their_bound(masked: bool, tmp_path: Path) -> None:
    ck = shared()
    loaded = reopened(balanced(ck, 0.5, masked=masked), tmp_path / "out")
    report = last.verify(loaded, ck)
    assert report.passed
    assert [c.name for c in report.checks][1:4] == [
        "kept entries bit-equal, poles, B and C new",
        "everything else untouched",
        "gain bound holds",
    ]
    key = loaded.layers[0].leaves["C1"]
    off = replace(loaded, changed={key: 10 * loaded.read([key])[key]})
    assert [c.name for c in last.verify(off, ck).checks if not c.passed] == ["gain bound holds"]


def test_what_cannot_be_done_is_refused() -> None:
    ck = shared()
    with pytest.raises(UsageError, match="ratio"):
        balanced(ck, 1.0)
    layer = replace(ck.layers[0], family=replace(ck.layers[0].family, name="other", with_system=None))
    with pytest.raises(UsageError, match="new poles go"):
        balanced(replace(ck, layers=(layer, *ck.layers[1:])), 0.5)
    key = ck.layers[0].leaves["Lambda_re"]
    with pytest.raises(UnstableStateError):
        balanced(replace(ck, changed={key: 1 + 0 * ck.read([key])[key]}), 0.5)
