"""The criterion `gn` on whole checkpoints: measured once, on what is asked for, with and without a refit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_layers import classifier, write
from random_networks import features, observed, shared

import last_cli as last
from last_cli.base import registry
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.evaluation import synthetic
from last_cli.evaluation.inputs import Inputs
from last_cli.pruning.calibration import measurements as network
from last_cli.pruning.calibration import observe, request
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.calibration.watch import chunk
from last_cli.pruning.compact import compact
from last_cli.pruning.needs import needs_of
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.score import score_layers

METHODS = [
    n for n in registry.names("methods") if n != "criterion" and not hasattr(registry.get("methods", n), "targets")
]
GN = Recipe("gn")

every_layout = pytest.mark.parametrize("kind", ["s5-two-directions", "s4d", "s4d-pairs-two-directions"])


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none are asked for."""
    monkeypatch.setattr(observe, "SEQUENCES", 8)
    monkeypatch.setattr(request, "SEQUENCES", 8)


def trained(ck: last.Checkpoint, length: int = 12) -> last.Checkpoint:
    return replace(ck, stamp={"task": {"name": "mine", "length": length}})


@every_layout
def test_scores_are_the_gates_as_the_network_has_them(kind: str) -> None:
    ck, observation = shared(kind), observed(kind)
    scored, _ = score_layers(ck, needs_of(ck, GN, observation))
    for layer in scored:
        np.testing.assert_array_equal(layer.scores, observation.measurements[layer.name].sensitivity)
        assert (layer.scores > 0).all()


def test_a_silent_state_has_no_gate(tmp_path: Path) -> None:
    arrays = classifier()
    for key, array in arrays.items():
        if key[-1] in ("C1", "C2"):
            array[:, 2] = 0
    scored = last.score(trained(last.load(write(tmp_path / "ckpt", arrays))), "gn").layers
    assert all((layer.scores[:, 2] == 0).all() and (np.delete(layer.scores, 2, axis=1) > 0).all() for layer in scored)


def test_gates_predict_the_change_of_the_logits() -> None:
    """Removing the state of the smallest gate changes the logits less than removing that of the largest."""
    ck, x = shared(blocks=1), features(32)
    gates = network.measurements(ck, x)[ck.layers[0].name].sensitivity
    before, changes = network.logits(ck, x), []
    for state in (gates.argmin(), gates.argmax()):
        keep = np.arange(gates.shape[1])[None] != state
        changes.append(np.abs(network.logits(compact(ck, {ck.layers[0].name: keep}, {}), x) - before).mean())
    assert changes[0] < changes[1]


def test_random_inputs_of_the_trained_length_are_the_default() -> None:
    ck = shared()
    with pytest.raises(UsageError, match="which length"):
        last.prune(ck, 0.5, "gn")
    with pytest.raises(UsageError, match="which length"):
        last.prune(ck, 0.5, "gn", refit=True)
    small = last.prune(trained(ck), 0.5, "gn")
    assert small.report is not None
    assert small.report.needed == {"calibration": small.stamp["pruned"][-1]["calibration"]}
    assert small.report.needed["calibration"]["length"] == 12


def test_with_a_refit_the_network_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    measure = network.measurements
    monkeypatch.setattr(network, "measurements", lambda *args: calls.append(args) or measure(*args))
    ck = trained(shared())
    refitted, cut = last.prune(ck, 0.5, "gn", refit=True), last.prune(ck, 0.5, "gn")
    assert len(calls) == 2
    for step in (one.stamp["pruned"][-1] for one in (refitted, cut)):
        assert step["criterion"] == "gn" and step["calibration"]["random"] == "features"
    assert [e["kept"] for e in refitted.stamp["pruned"][-1]["layers"]] == [
        e["kept"] for e in cut.stamp["pruned"][-1]["layers"]
    ]


def test_a_tree_that_is_no_classifier_is_refused_as_elsewhere(tmp_path: Path) -> None:
    arrays = {key: a for key, a in classifier().items() if "decoder" not in key}
    ck = trained(last.load(write(tmp_path / "ckpt", arrays)))
    with pytest.raises(CheckpointError, match="no params/decoder/kernel of two axes, so no classifier can be built"):
        last.score(ck, "gn")


def test_the_first_progress_comes_before_what_takes_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[tuple[Any, ...]]()
    monkeypatch.setattr(synthetic, "sequences", lambda *_, **__: pytest.fail(f"seen so far: {seen}"))
    with pytest.raises(pytest.fail.Exception, match="calibrate"):
        observe.observe(trained(shared()), GN, progress=lambda *done: seen.append(done))
    assert seen == [("calibrate", 0, 8)]


def test_logits_that_overflow_are_counted_in_the_first_batch() -> None:
    first, seen = chunk(Inputs(features().x, None, {})), list[tuple[Any, ...]]()
    x = np.tile(features().x[:1] * np.float32(1e38), (2 * first, 1, 1))
    with np.errstate(over="ignore"), pytest.raises(CheckpointError, match=f"of {first} of {first} sequences are not"):
        needs_of(shared(), GN, Observation(shared(), Inputs(x, None, {}), progress=lambda *done: seen.append(done)))
    assert not any(done for _, done, _ in seen)


@pytest.mark.parametrize("criterion", ["last", "gn"])
def test_a_horizon_is_for_the_energy_alone(criterion: str) -> None:
    ck = shared()
    with pytest.raises(UsageError, match="horizon is 5"):
        last.prune(ck, 0.5, criterion, horizon=5)
    with pytest.raises(UsageError, match="horizon is 0"):
        last.score(ck, "energy", horizon=0)


def test_the_horizon_is_the_trained_length_or_assumed_and_stamped() -> None:
    ck = shared()
    assert last.score(ck, "energy").assumed["horizon"] == 1024
    known = last.score(trained(ck), "energy")
    assert known.needed == {"horizon": 12} and "horizon" not in known.assumed
    for refit in (False, True):
        small = last.prune(ck, 0.5, "energy", refit=refit)
        assert small.report is not None and small.report.assumed["horizon"] == 1024
        assert small.stamp["pruned"][-1]["horizon"] == 1024
        assert last.prune(ck, 0.5, "energy", horizon=7, refit=refit).stamp["pruned"][-1]["horizon"] == 7
    assert "horizon" not in last.prune(ck, 0.5).stamp["pruned"][-1]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_taken_as_a_criterion(name: str) -> None:
    ck = shared()
    one, other = last.prune(ck, 0.5, name), last.prune(ck, 0.5, method=name)
    assert one.digest == other.digest and one.stamp == other.stamp
    with pytest.raises(UsageError, match="scores no states"):
        last.score(ck, name)
