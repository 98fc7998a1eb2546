"""Which states stay, and the step towards the logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases import SAMPLES
from random_networks import check_derivatives, features, fitted, observed, pruned, reconstruct, shared

import last_cli as last
from last_cli.display.prune import prune_view
from last_cli.pruning.calibration import measurements as network
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.calibration.request import Draw, from_task
from last_cli.pruning.moments import METRIC_RIDGE, raised
from last_cli.pruning.reconstruct import allocate, correct
from last_cli.pruning.reconstruct.fit import Fit, fit_of
from last_cli.pruning.reconstruct.probe import probe


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fitted()


@pytest.fixture(scope="module")
def sample() -> Observation:
    ck = last.load(SAMPLES / "s5-listops")
    return Observation(ck, from_task(ck, "listops", 24))


def test_the_best_measured_candidate_is_taken(fit: Fit) -> None:
    chosen = allocate.allocate(fit, 0.5)
    assert chosen.errors.keys() == allocate.CANDIDATES.keys()
    assert chosen.errors[chosen.name] == min(chosen.errors.values())
    assert sum(int(keep.sum()) for keep in chosen.keep) == 6
    C = [p.readouts(keep) for p, keep in zip(fit.layers, chosen.keep, strict=True)]
    assert allocate.divergence(fit.probe.logits(C), fit.wanted) == pytest.approx(chosen.errors[chosen.name])


def test_stamp_and_report_say_which() -> None:
    small = reconstruct(observed()).at(0.5)
    step = small.checkpoint.stamp["pruned"][-1]
    assert step["divergences"][step["allocation"]] == min(step["divergences"].values())
    assert set(step["step_ridges"]) <= set(correct.RIDGES)
    held = step["held_out_divergences"]
    assert len(held) == len(step["step_ridges"]) + 1 <= correct.STEPS + 1
    assert held == sorted(held, reverse=True)
    notes = " ".join(prune_view(small.report).details)
    assert step["allocation"] in notes and "held-out" in notes


def test_without_a_network_nothing_is_measured() -> None:
    fit = fit_of(Observation(shared(), None))
    assert not allocate.allocate(fit, 0.5).errors
    assert correct.corrected(fit, [], []) is None


def test_the_probe_gives_the_networks_own_logits(fit: Fit, tmp_path: Path) -> None:
    np.testing.assert_allclose(fit.wanted, network.logits(fit.checkpoint, features()), atol=1e-5)
    masked = pruned(reconstruct(observed(), masked=True), 0.5)
    last.save(masked, tmp_path / "masked")
    C = [masked.system(layer).C for layer in masked.layers]
    wanted = network.logits(last.load(tmp_path / "masked"), features())
    np.testing.assert_allclose(fit.probe.logits(C), wanted, atol=1e-4)


def test_derivatives_are_those_of_finite_differences(fit: Fit) -> None:
    check_derivatives(fit)


def test_the_steps_help_on_sequences_that_they_never_saw(sample: Observation, monkeypatch: pytest.MonkeyPatch) -> None:
    ck = sample.checkpoint
    fit = fit_of(Observation(ck, from_task(ck, "listops", 96)))
    chosen = allocate.allocate(fit, 0.8)
    C = [p.readouts(keep) for p, keep in zip(fit.layers, chosen.keep, strict=True)]
    monkeypatch.setattr(correct, "WORTH", 0.99)
    found = correct.corrected(fit, chosen.keep, C)
    monkeypatch.setattr(correct, "MOST_AGAIN", 1)
    first = correct.corrected(fit, chosen.keep, C)
    assert found is not None and first is not None and len(found.ridges) > len(first.ridges) == 1
    assert found.errors[:2] == first.errors and found.errors[-1] < found.errors[1]
    other = probe(fit.checkpoint, from_task(fit.checkpoint, "listops", 24, Draw(seed=5)))
    wanted = other.logits([p.system.C for p in fit.layers])
    before, once, after = (allocate.divergence(other.logits(c), wanted) for c in (C, first.C, found.C))
    assert max(once, after) < 0.9 * before
    for new, keep in zip(found.C, chosen.keep, strict=True):
        assert not new[:, :, :, ~keep[0]].any()


def test_three_times_longer_sequences_are_no_worse_than_after_a_plain_criterion(sample: Observation) -> None:
    ck = sample.checkpoint
    said = dict(ck.stamp["task"]) | {"min_length": 130, "max_length": 192, "length": 193}
    long = replace(ck, stamp={**ck.stamp, "task": said})
    judge = probe(ck, from_task(long, "listops", 32))
    wanted = judge.logits([ck.system(layer).C for layer in ck.layers])
    both = pruned(reconstruct(sample), 0.5, draft=True), last.prune(ck, 0.5, "last", masked=True)
    ours, plain = (
        allocate.divergence(judge.logits([one.system(layer).C for layer in one.layers]), wanted) for one in both
    )
    assert ours < plain / 2


def test_no_step_is_taken_that_the_held_out_sequences_do_not_like(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correct, "divergence", lambda answers, wanted: 1.0)
    chosen = allocate.allocate(fit, 0.5)
    C = [p.readouts(keep) for p, keep in zip(fit.layers, chosen.keep, strict=True)]
    found = correct.corrected(fit, chosen.keep, C)
    assert found is not None and not found.ridges and found.errors == [1.0]
    assert found.C is C


def test_roots_are_those_of_the_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    """To second order: half of |R change|^2."""
    monkeypatch.setattr(correct, "NEGLIGIBLE", 0.0)
    rng = np.random.default_rng(0)
    wanted, change = rng.normal(size=(5, 4)), 1e-3 * rng.normal(size=(5, 4))
    roots = correct.roots_of(allocate.probabilities(wanted))
    moved = np.einsum("nij,nj->ni", roots, change)
    found = allocate.divergence(wanted + change, wanted)
    assert found == pytest.approx(np.square(moved).sum(axis=1).mean() / 2, rel=1e-2)
    np.testing.assert_allclose(roots @ np.ones(4), 0, atol=1e-7)


def test_roots_have_no_rows_for_classes_that_no_answer_hangs_on() -> None:
    p = np.array([[0.5, 0.5, 0, 0, 0], [0.001, 0, 0, 0, 0.999], [0.3, 0.7, 0, 0, 0]])
    roots = correct.roots_of(p)
    assert roots.shape == (3, 1, 5)
    minded = p[:, :, None] * (np.eye(5) - p[:, None, :])
    np.testing.assert_allclose(np.swapaxes(roots, 1, 2) @ roots, minded, atol=1e-12)


def test_roots_leave_out_no_more_than_is_said() -> None:
    p = allocate.probabilities(np.random.default_rng(1).normal(size=(50, 6)))
    roots, minded = correct.roots_of(p), p[:, :, None] * (np.eye(6) - p[:, None, :])
    missing = np.trace(minded - np.swapaxes(roots, 1, 2) @ roots, axis1=1, axis2=2).sum()
    share = missing / np.trace(minded, axis1=1, axis2=2).sum()
    assert 0 < share <= correct.NEGLIGIBLE and roots.shape[1] < 6


def test_a_step_that_does_not_fit_in_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correct, "MOST_NUMBERS", 1000)
    assert "step_ridges" not in reconstruct(observed()).at(0.5).checkpoint.stamp["pruned"][-1]


def test_a_metric_is_raised_to_be_positive() -> None:
    metric = np.array([[[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert (np.linalg.eigvalsh(raised(metric)) > 0).all()
    np.testing.assert_allclose(raised(metric)[0, 0, 0], 2 + METRIC_RIDGE)
    assert np.isfinite(np.linalg.cholesky(raised(0 * metric))).all()


def test_candidates_are_judged_by_their_answers(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of a class that no network answers may be far off."""
    wanted = np.tile([4.0, 4.0, -8.0], (2, 1))
    better, worse = wanted + np.array([0.0, 0.0, -4.0]), wanted + np.array([1.0, -1.0, 0.0])
    assert np.square(better - wanted).sum() > np.square(worse - wanted).sum()
    assert allocate.divergence(better, wanted) < allocate.divergence(worse, wanted) / 100
    found = iter([worse, worse, better, worse, worse])

    class Judge:
        def logits(self, C: object) -> np.ndarray:
            return next(found)

    judged = replace(fit, probe=Judge())
    monkeypatch.setitem(judged.__dict__, "wanted", wanted)
    chosen = allocate.allocate(judged, 0.5)
    assert chosen.name == list(allocate.CANDIDATES)[2]
