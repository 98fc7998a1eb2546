"""Whole checkpoints through `reconstruct` and `refit`: bits, shapes, reports, stamps, and what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_layers import LAYOUTS, classifier, leaves_with, write
from random_networks import features, observed, pruned, reconstruct, reopened, report_of, shared

import last_cli as last
from last_cli.base.errors import UnstableStateError, UsageError
from last_cli.pruning.calibration import measurements as network
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.compact import compact
from last_cli.pruning.moments import energy, readout_matrix
from last_cli.pruning.needs import Needs
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.reconstruct.fit import fit_of
from last_cli.pruning.reconstruct.method import ReconstructPlan
from last_cli.pruning.score import score_layers, with_keep
from last_cli.pruning.select import Shape

every_leaf_layout = pytest.mark.parametrize("kind", LAYOUTS)


def saved(small: last.Checkpoint, path: Path) -> dict[tuple[str, ...], np.ndarray]:
    return reopened(small, path).read(small.leaves)


@every_leaf_layout
@pytest.mark.parametrize("shape", ["ragged", "rectangular"])
def test_removing_nothing_changes_no_bit(kind: str, shape: Shape, tmp_path: Path) -> None:
    found = saved(pruned(reconstruct(observed(kind), shape=shape), 0.0), tmp_path / "out")
    for key, array in classifier(kind).items():
        assert found[key].tobytes() == array.tobytes(), key


@every_leaf_layout
def test_everything_that_is_kept_but_C_stays_bit_equal(kind: str, tmp_path: Path) -> None:
    ck = shared(kind)
    small = pruned(reconstruct(observed(kind)), 0.5)
    found = saved(small, tmp_path / "out")
    kept = {e["name"]: e["kept"] for e in small.stamp["pruned"][-1]["layers"]}
    for layer in ck.layers:
        masks = np.zeros((layer.sizes.groups, layer.sizes.states), bool)
        rows = kept[layer.name] if layer.sizes.groups > 1 else [kept[layer.name]]
        for mask, row in zip(masks, rows, strict=True):
            mask[row] = True
        everything = {other.name: np.ones((other.sizes.groups, other.sizes.states), bool) for other in ck.layers}
        cut = compact(ck, everything | {layer.name: masks}, {})
        for name, key in layer.leaves.items():
            same = found[key].tobytes() == cut.read([key])[key].tobytes()
            assert same != (name in leaves_with(layer, "readout")), key
    untouched = set(found) - {key for layer in ck.layers for key in layer.leaves.values()}
    assert all(found[key].tobytes() == classifier(kind)[key].tobytes() for key in untouched)


@every_leaf_layout
@pytest.mark.parametrize("shape", ["ragged", "rectangular"])
def test_a_saved_reduction_loads_and_runs(kind: str, shape: Shape, tmp_path: Path) -> None:
    small = pruned(reconstruct(observed(kind), shape=shape), 0.5)
    loaded = reopened(small, tmp_path / "out")
    assert loaded.digest == small.digest
    live = [loaded.system(layer).live_mask for layer in loaded.layers]
    assert sum(int(m.sum()) for m in live) == report_of(small).states[1] <= report_of(small).states[0] // 2
    if shape == "rectangular":
        assert all(m.all() for m in live)
    assert all(m.any(axis=1).all() for m in live)
    assert np.isfinite(network.logits(loaded, features())).all()
    json.dumps(report_of(small).as_json())
    step = loaded.stamp["pruned"][-1]
    assert (step["method"], step["ratio"], step["calibration"]["digest"]) == ("reconstruct", 0.5, features().digest)
    assert step["ridge"] == 1e-3 and step["white_horizon"] == 160


def test_a_redundant_state_is_removed_for_nothing(tmp_path: Path) -> None:
    arrays = classifier("s5-two-directions", blocks=1)
    for key, array in arrays.items():
        if key[-1] in ("Lambda_re", "Lambda_im", "log_step", "B"):
            array[0] = array[1]
    ck = last.load(write(tmp_path / "ckpt", arrays))
    small = pruned(reconstruct(Observation(ck, features())), 1 / 6)
    assert [(layer.before, layer.after) for layer in report_of(small).layers] == [(6, 5)]
    before, after = network.logits(ck, features(seed=1)), network.logits(small, features(seed=1))
    assert np.abs(before - after).max() < 0.02 * np.abs(before).max()
    cut = network.logits(last.prune(ck, 1 / 6), features(seed=1))
    assert np.abs(before - cut).max() > 5 * np.abs(before - after).max()


@every_leaf_layout
def test_refit_lowers_the_error_of_any_choice(kind: str) -> None:
    ck, recipe, fit = shared(kind), Recipe("last", refit=True), fit_of(observed(kind))
    scored, warnings = score_layers(ck, Needs(recipe))
    masks = [s.keep for s in with_keep(scored, recipe, 0.4) if s.keep is not None]
    refitted = pruned_by_masks(ReconstructPlan(fit, recipe, scored, warnings), masks)
    assert report_of(refitted).criterion == "last" and refitted.stamp["pruned"][-1]["method"] == "refit"
    for p, keep, found in zip(fit.layers, masks, report_of(refitted).differences, strict=True):
        assert p.moments is not None and found.calibration is not None
        plain = replace(p.system, C=np.where(keep[None, :, None, :], 0, p.system.C))
        cut = energy(readout_matrix(plain), p.moments).sum() / energy(readout_matrix(p.system), p.moments).sum()
        assert found.calibration <= np.sqrt(cut) * 1.02
        assert found.hinf[0] <= found.hinf[1]


def pruned_by_masks(plan: ReconstructPlan, masks: list[np.ndarray]) -> last.Checkpoint:
    found = plan.refit(masks, 0.4)
    return replace(found.checkpoint, report=found.report)


def test_without_a_network_white_inputs_are_enough() -> None:
    small = pruned(reconstruct(Observation(shared("s4d"), None, horizon=100)), 0.5)
    assert report_of(small).differences[0].calibration is None
    assert small.stamp["pruned"][-1]["calibration"] == {"white": 100}


def test_every_used_channel_keeps_a_state() -> None:
    small = pruned(reconstruct(observed("s4d")), 0.99)
    assert all(small.system(layer).live_mask.any(axis=1).all() for layer in small.layers)


def test_a_fit_is_made_once_for_each_observation() -> None:
    one, other = (Observation(shared(), None) for _ in range(2))
    assert fit_of(one) is fit_of(one) is not fit_of(other)


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    white = Observation(shared(), None)
    with pytest.raises(UsageError):
        pruned(reconstruct(white), 1.0)
    with pytest.raises(UsageError):
        reconstruct(white, min_states=-1)
    arrays = classifier()
    arrays[("params", "encoder", "layers_0", "seq", "Lambda_re")][:] = 1.0
    with pytest.raises(UnstableStateError):
        reconstruct(Observation(last.load(write(tmp_path / "unstable", arrays)), None))
