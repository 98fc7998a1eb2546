"""Whole checkpoints through `reconstruct` and `refit`: bits, shapes, reports, stamps, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from random_layers import KINDS, classifier, simulate, write, written
from random_networks import features, report_of

import last_cli as last
from last_cli import formats
from last_cli.base.errors import DataError, UnstableStateError, UsageError
from last_cli.evaluation import inputs
from last_cli.families.find import build_system
from last_cli.pruning.by_criterion import compact
from last_cli.pruning.calibration import measure as network
from last_cli.pruning.moments import energy, readout_matrix
from last_cli.pruning.reconstruct import method as reconstruct
from last_cli.pruning.reconstruct.plan import Plan
from last_cli.pruning.score import Choice, Shape, score_layers

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))
every_leaf_layout = pytest.mark.parametrize(
    "kind", ["s5-two-directions", "s5-one-C-of-two-directions", "s4d", "s4d-pairs-two-directions"]
)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Plan]:
    """A kind's classifier, measured once on `features()`."""
    path = tmp_path_factory.mktemp("planned")
    return cache(lambda kind: reconstruct.prepare(written(path / kind, kind), features()))


def saved(small: last.Checkpoint, path: Path) -> dict[tuple[str, ...], np.ndarray]:
    last.save(small, path)
    return formats.read(formats.index(path))


@every_kind
def test_with_readouts_is_the_inverse_of_how_C_enters(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    system = build_system(layer, arrays, KINDS[kind].config)
    assert layer.family.with_readouts is not None
    same = layer.family.with_readouts(arrays, system.C)
    assert same.keys() == {name for name in arrays if name.startswith("C")}
    for name, array in same.items():
        assert array.astype(arrays[name].dtype).tobytes() == arrays[name].tobytes()
    other = layer.family.with_readouts(arrays, 2j * system.C)
    np.testing.assert_allclose(build_system(layer, {**arrays, **other}, KINDS[kind].config).C, 2j * system.C)


@every_leaf_layout
@pytest.mark.parametrize("shape", ["ragged", "rectangular"])
def test_removing_nothing_changes_no_bit(
    kind: str, shape: Shape, planned: Callable[[str], Plan], tmp_path: Path
) -> None:
    found = saved(reconstruct.reduce(planned(kind), 0.0, shape=shape), tmp_path / "out")
    for key, array in classifier(kind).items():
        assert found[key].tobytes() == array.tobytes(), key


@every_leaf_layout
def test_everything_that_is_kept_but_C_stays_bit_equal(
    kind: str, planned: Callable[[str], Plan], tmp_path: Path
) -> None:
    ck = planned(kind).checkpoint
    small = reconstruct.reduce(planned(kind), 0.5)
    found = saved(small, tmp_path / "out")
    kept = {e["name"]: e["kept"] for e in small.stamp["pruned"][-1]["layers"]}
    for layer in ck.layers:
        masks = np.zeros((layer.shape.groups, layer.shape.states), bool)
        rows = kept[layer.name] if layer.shape.groups > 1 else [kept[layer.name]]
        for mask, row in zip(masks, rows, strict=True):
            mask[row] = True
        everything = {other.name: np.ones((other.shape.groups, other.shape.states), bool) for other in ck.layers}
        cut = compact(ck, everything | {layer.name: masks}, {})
        for name, key in layer.leaves.items():
            same = found[key].tobytes() == cut.read([key])[key].tobytes()
            assert same != name.startswith("C"), key
    untouched = set(found) - {key for layer in ck.layers for key in layer.leaves.values()}
    assert all(found[key].tobytes() == classifier(kind)[key].tobytes() for key in untouched)


@every_leaf_layout
@pytest.mark.parametrize("shape", ["ragged", "rectangular"])
def test_a_saved_reduction_loads_and_runs(
    kind: str, shape: Shape, planned: Callable[[str], Plan], tmp_path: Path
) -> None:
    small = reconstruct.reduce(planned(kind), 0.5, shape=shape)
    last.save(small, tmp_path / "out")
    loaded = last.load(tmp_path / "out")
    assert loaded.digest == small.digest
    live = [loaded.system(layer).live_mask for layer in loaded.layers]
    assert sum(int(m.sum()) for m in live) == report_of(small).states[1] <= report_of(small).states[0] // 2
    if shape == "rectangular":
        assert all(m.all() for m in live)
    assert all(m.any(axis=1).all() for m in live)
    assert np.isfinite(network.logits(loaded, features())).all()
    json.dumps(report_of(small).as_json(None))
    step = loaded.stamp["pruned"][-1]
    assert (step["method"], step["ratio"], step["calibration"]["digest"]) == ("reconstruct", 0.5, features().digest)
    assert step["ridge"] == 1e-3 and step["white_horizon"] == 160


@every_kind
def test_measured_moments_are_those_of_the_states(kind: str, tmp_path: Path) -> None:
    """The energy of a layer's simulated output, for the inputs that the network gives it, is w S w^T."""
    ck = written(tmp_path / "ckpt", kind, blocks=1, norm="layer")
    x = features(5, 9)
    kernel, bias = (ck.tree["params"]["encoder"]["encoder"][n] for n in ("kernel", "bias"))
    norm = ck.tree["params"]["encoder"]["layers_0"]["norm"]
    u = x.x @ kernel + bias
    u = (u - u.mean(axis=-1, keepdims=True)) / np.sqrt(u.var(axis=-1, keepdims=True) + 1e-6)
    u = u * norm["scale"] + norm["bias"]
    system = ck.system(ck.layers[0])
    quiet = replace(system, D=0 * system.D)
    wanted = np.mean([simulate(quiet, one) ** 2 for one in u], axis=(0, 1))
    measured = network.measure(ck, x)[ck.layers[0].name]
    np.testing.assert_allclose(energy(readout_matrix(system), measured.moments).ravel(), wanted, rtol=1e-4)
    assert (measured.sensitivity >= 0).all() and np.isfinite(measured.weighted).all()


def test_a_redundant_state_is_removed_for_nothing(tmp_path: Path) -> None:
    arrays = classifier("s5-two-directions")
    for key, array in arrays.items():
        if key[-1] in ("Lambda_re", "Lambda_im", "log_step", "B"):
            array[0] = array[1]
    ck = last.load(write(tmp_path / "ckpt", arrays))
    small = reconstruct.reduce(reconstruct.prepare(ck, features()), 1 / 6)
    assert [(layer.before, layer.after) for layer in report_of(small).layers] == [(6, 5), (6, 5)]
    before, after = network.logits(ck, features(seed=1)), network.logits(small, features(seed=1))
    assert np.abs(before - after).max() < 0.02 * np.abs(before).max()
    cut = network.logits(last.prune(ck, 1 / 6), features(seed=1))
    assert np.abs(before - cut).max() > 5 * np.abs(before - after).max()


@every_leaf_layout
def test_refit_lowers_the_error_of_any_choice(kind: str, tmp_path: Path) -> None:
    ck = written(tmp_path / "ckpt", kind)
    choice, x = Choice("last"), features(32, 40)
    masks = {s.name: s.keep for s in score_layers(ck, choice, 0.4)[0] if s.keep is not None}
    plan = reconstruct.prepare(ck, x)
    refitted = reconstruct.refit(plan, masks, ratio=0.4, choice=choice)
    assert report_of(refitted).criterion == "last" and refitted.stamp["pruned"][-1]["method"] == "refit"
    for p, found in zip(plan.layers, report_of(refitted).differences, strict=True):
        assert p.moments is not None and found.calibration is not None
        keep = masks[p.layer.name]
        plain = replace(p.system, C=np.where(keep[None, :, None, :], 0, p.system.C))
        cut = energy(readout_matrix(plain), p.moments).sum() / energy(readout_matrix(p.system), p.moments).sum()
        assert found.calibration <= np.sqrt(cut) * 1.02
        assert found.hinf[0] <= found.hinf[1]


def test_without_a_network_white_inputs_are_enough(tmp_path: Path) -> None:
    ck = written(tmp_path / "ckpt", "s4d")
    small = reconstruct.reduce(reconstruct.prepare(ck, None, horizon=100), 0.5)
    assert report_of(small).differences[0].calibration is None
    assert small.stamp["pruned"][-1]["calibration"] == {"white": 100}


def test_every_used_channel_keeps_a_state(planned: Callable[[str], Plan]) -> None:
    small = reconstruct.reduce(planned("s4d"), 0.99)
    assert all(small.system(layer).live_mask.any(axis=1).all() for layer in small.layers)


def test_random_inputs_are_of_the_trained_kind(tmp_path: Path) -> None:
    ck = last.load(write(tmp_path / "ckpt", classifier()))
    with pytest.raises(UsageError, match="which length"):
        inputs.random(ck, 4)
    assert inputs.random(ck, 4, length=11).x.shape == (4, 11, 7)
    said = replace(ck, stamp={"task": {"name": "mine", "length": 9, "vocabulary": list("abcdefg")}})
    x = inputs.random(said, 50).x
    assert x.shape == (50, 9) and x.dtype == np.int32 and set(np.unique(x)) == set(range(7))
    assert inputs.random(said, 50).digest == inputs.random(said, 50).digest != inputs.random(said, 50, seed=1).digest


def test_the_test_split_never_calibrates(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="test split"):
        inputs.from_task(written(tmp_path / "ckpt"), "digits", 8, split="test")
    found = inputs.from_task(written(tmp_path / "other"), "digits", 1000)
    assert found.source["sequences"] == found.source["of"] == 200


def test_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no calibration"):
        inputs.from_file(tmp_path / "none.npz")
    np.savez(tmp_path / "flat.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="shape"):
        inputs.from_file(tmp_path / "flat.npz")
    np.savez(tmp_path / "long.npz", x=np.arange(12).reshape(4, 3), lengths=np.array([3, 4, 2, 1]))
    with pytest.raises(DataError, match="lengths are 1 to 4, expected 1 to 3"):
        inputs.from_file(tmp_path / "long.npz")
    np.savez(tmp_path / "good.npz", x=np.arange(12).reshape(4, 3), lengths=np.array([3, 3, 2, 1]))
    found = inputs.from_file(tmp_path / "good.npz", 2)
    assert found.x.shape == (2, 3) and found.lengths is not None and found.lengths.dtype == np.int32


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    ck = written(tmp_path / "ckpt")
    plan = reconstruct.prepare(ck, None)
    with pytest.raises(UsageError):
        reconstruct.reduce(plan, 1.0)
    with pytest.raises(UsageError):
        reconstruct.reduce(plan, 0.5, min_states=-1)
    arrays = classifier()
    arrays[("params", "encoder", "layers_0", "seq", "Lambda_re")][:] = 1.0
    with pytest.raises(UnstableStateError):
        reconstruct.prepare(last.load(write(tmp_path / "unstable", arrays)), None)
