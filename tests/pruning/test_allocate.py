"""Which states stay, the step towards the logits, and what an interrupted measurement leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_layers import written
from random_networks import check_derivatives, features, report_of

import last_cli as last
from last_cli.evaluation import inputs
from last_cli.evaluation.inputs import Inputs
from last_cli.pruning.calibration import measure as network
from last_cli.pruning.calibration import resume, watch
from last_cli.pruning.moments import METRIC_RIDGE, raised
from last_cli.pruning.reconstruct import allocate, correct
from last_cli.pruning.reconstruct import method as reconstruct
from last_cli.pruning.reconstruct.probe import probe

SAMPLE = Path(__file__).parents[2] / "sample_checkpoints" / "s5-listops"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> reconstruct.Plan:
    return reconstruct.prepare(written(tmp_path_factory.mktemp("plan") / "ckpt"), features(32, 20))


@pytest.fixture(scope="module")
def sample() -> reconstruct.Plan:
    ck = last.load(SAMPLE)
    return reconstruct.prepare(ck, inputs.from_task(ck, "listops", 96))


def test_the_best_measured_candidate_is_taken(plan: reconstruct.Plan) -> None:
    chosen = allocate.allocate(plan, 0.5)
    assert chosen.errors.keys() == allocate.CANDIDATES.keys()
    assert chosen.errors[chosen.name] == min(chosen.errors.values())
    assert sum(int(keep.sum()) for keep in chosen.keep) == 6
    C = [p.readouts(keep) for p, keep in zip(plan.layers, chosen.keep, strict=True)]
    assert allocate.relative_error(plan.probe.logits(C), plan.wanted) == pytest.approx(chosen.errors[chosen.name])


def test_stamp_and_report_say_which(plan: reconstruct.Plan) -> None:
    small = reconstruct.reduce(plan, 0.5)
    step = small.stamp["pruned"][-1]
    assert step["logit_errors"][step["allocation"]] == min(step["logit_errors"].values())
    assert step["held_out_logit_errors"].keys() == {"none", *(f"{r:g}" for r in correct.RIDGES)}
    notes = " ".join(report_of(small).measured_notes)
    assert step["allocation"] in notes and "held-out" in notes


def test_without_a_network_nothing_is_measured(tmp_path: Path) -> None:
    plan = reconstruct.prepare(written(tmp_path / "ckpt"), None)
    assert not allocate.allocate(plan, 0.5).errors
    assert correct.corrected(plan, [], []) is None


def test_the_probe_gives_the_networks_own_logits(plan: reconstruct.Plan, tmp_path: Path) -> None:
    np.testing.assert_allclose(plan.wanted, network.logits(plan.checkpoint, features(32, 20)), atol=1e-5)
    masked = reconstruct.reduce(plan, 0.5, masked=True)
    last.save(masked, tmp_path / "masked")
    C = [masked.system(layer).C for layer in masked.layers]
    wanted = network.logits(last.load(tmp_path / "masked"), features(32, 20))
    np.testing.assert_allclose(plan.probe.logits(C), wanted, atol=1e-4)


def test_derivatives_are_those_of_finite_differences(plan: reconstruct.Plan) -> None:
    check_derivatives(plan)


def test_the_step_helps_on_sequences_that_it_never_saw(sample: reconstruct.Plan) -> None:
    chosen = allocate.allocate(sample, 0.7)
    C = [p.readouts(keep) for p, keep in zip(sample.layers, chosen.keep, strict=True)]
    found = correct.corrected(sample, chosen.keep, C)
    assert found is not None and found.ridge is not None
    other = probe(sample.checkpoint, inputs.from_task(sample.checkpoint, "listops", 200, seed=5))
    wanted = other.logits([p.system.C for p in sample.layers])
    before, after = (allocate.relative_error(other.logits(c), wanted) for c in (C, found.C))
    assert after < 0.95 * before
    for new, keep in zip(found.C, chosen.keep, strict=True):
        assert not new[:, :, :, ~keep[0]].any()


def test_three_times_longer_sequences_are_no_worse_than_after_a_plain_criterion(sample: reconstruct.Plan) -> None:
    ck = sample.checkpoint
    said = dict(ck.stamp["task"]) | {"min_length": 130, "max_length": 192, "length": 193}
    long = replace(ck, stamp={**ck.stamp, "task": said})
    judge = probe(ck, inputs.from_task(long, "listops", 64))
    wanted = judge.logits([p.system.C for p in sample.layers])
    pruned = reconstruct.reduce(sample, 0.5, masked=True, compare=False), last.prune(ck, 0.5, "last", masked=True)
    ours, plain = (
        allocate.relative_error(judge.logits([one.system(layer).C for layer in one.layers]), wanted) for one in pruned
    )
    assert ours < plain / 2


def test_a_step_that_does_not_fit_in_memory_is_left_out(
    plan: reconstruct.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correct, "MOST_NUMBERS", 1000)
    assert "step_ridge" not in reconstruct.reduce(plan, 0.5).stamp["pruned"][-1]


def test_a_metric_is_raised_to_be_positive() -> None:
    metric = np.array([[[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert (np.linalg.eigvalsh(raised(metric)) > 0).all()
    np.testing.assert_allclose(raised(metric)[0, 0, 0], 2 + METRIC_RIDGE)
    assert np.isfinite(np.linalg.cholesky(raised(0 * metric))).all()


class Killed(Exception):
    pass


def test_a_killed_measurement_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ck, x = written(tmp_path / "ckpt"), features(4 * watch.chunk(), 12)
    whole = network.measure(ck, x)
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    half = 2 * watch.chunk()

    def kill(what: str, done: int, total: int) -> None:
        if done > half:
            raise Killed

    with pytest.raises(Killed):
        network.measure(ck, x, progress=kill)
    seen: list[int] = []
    again = network.measure(ck, x, progress=lambda what, done, total: seen.append(done))
    assert seen[0] > half
    for name, one in again.items():
        assert one.reused >= half
        np.testing.assert_allclose(one.moments, whole[name].moments, rtol=1e-12)
        np.testing.assert_allclose(one.sensitivity, whole[name].sensitivity, rtol=1e-12)
    assert all(one.reused == len(x.x) for one in network.measure(ck, x).values())


def test_other_inputs_seeds_and_weights_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    ck, x = written(tmp_path / "ckpt"), features(4, 12)
    network.measure(ck, x)
    assert network.measure(ck, x).popitem()[1].reused == 4
    others: list[tuple[last.Checkpoint, Inputs, int]] = [
        (ck, features(4, 12, seed=1), 0),
        (ck, x, 1),
        (written(tmp_path / "other", seed=1), x, 0),
    ]
    assert [network.measure(*other).popitem()[1].reused for other in others] == [0, 0, 0]
