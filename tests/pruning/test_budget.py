"""The search for a ratio: its properties on made-up curves, and the real command on the samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CASES, DATA
from commands import S5, Run, data, fails
from hypothesis import given, settings
from hypothesis import strategies as st
from language_models import directories
from random_networks import digits, features, held, shared

import last_cli as last
from last_cli.base.errors import AnswerIsNo, UsageError
from last_cli.display.search import in_words
from last_cli.evaluation import inputs
from last_cli.evaluation.judge import selection_request
from last_cli.pruning import budget as searching
from last_cli.pruning.calibration import measurements as network
from last_cli.pruning.calibration import request
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.select import Shape, kept_count
from last_cli.results.search import Search, SearchPoint

curves = st.lists(st.booleans(), min_size=2, max_size=101)


@pytest.fixture
def sample() -> str:
    return digits().source.path


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none are asked for."""
    monkeypatch.setattr(request, "SEQUENCES", 16)


def search(curve: list[bool], patience: int = 2) -> tuple[int, list[int]]:
    """What is found on a curve that says for each number whether it is within, and what was measured."""
    seen: list[int] = []

    def within(number: int) -> bool:
        seen.append(number)
        return curve[number]

    return searching.largest(within, len(curve), patience), seen


@given(curves)
def test_what_is_found_was_measured_and_is_within(curve: list[bool]) -> None:
    found, seen = search(curve)
    assert len(seen) == len(set(seen))
    assert all(0 < number < len(curve) for number in seen)
    if found:
        assert found in seen and curve[found]
        assert not any(curve[number] for number in seen if number > found)
    else:
        assert not any(curve[number] for number in seen)


@given(st.integers(2, 100), st.data())
def test_on_a_falling_curve_it_is_the_largest_of_all(steps: int, choose: st.DataObject) -> None:
    last_within = choose.draw(st.integers(0, steps - 1))
    found, seen = search([number <= last_within for number in range(steps)])
    assert found == last_within
    assert len(seen) <= 9 + 4


def test_one_bad_ratio_does_not_end_a_search_by_estimates() -> None:
    curve = [number != 30 and number <= 57 for number in range(100)]
    assert search(curve)[0] == 57


@given(curves)
def test_an_upper_limit_fits_at_every_smaller_measured_ratio_too(curve: list[bool]) -> None:
    found, seen = search(curve, patience=1)
    assert all(curve[number] for number in seen if number <= found)


def test_the_smallest_ratio_is_measured_before_giving_up() -> None:
    found, seen = search([False] * 100)
    assert found == 0 and min(seen) == 1


def test_max_drop_takes_the_largest_measured_ratio_within_the_budget(sample: str, run: Run) -> None:
    report = data(run, "prune", sample, "--max-drop", "1", "--task", "digits", "-o", "small")
    search = report["search"]
    assert (search["kind"], search["budget"], search["split"], search["sequences"]) == ("max_drop", 1, "val", 200)
    assert search["rule"] == "upper limit" and all(p["upper"] > p["drop"] for p in search["points"])
    within = [p["ratio"] for p in search["points"] if p["upper"] <= 0.01]
    assert [p["ratio"] for p in search["points"] if p["within"]] == within
    assert report["ratio"] == search["chosen"] == max(within)
    assert search["points"] == sorted(search["points"], key=lambda p: p["ratio"])
    assert last.load("small").stamp["pruned"][-1]["search"] == search
    point = next(p for p in search["points"] if p["ratio"] == report["ratio"])
    judged = data(run, "eval", "small", "--task", "digits", "--split", "val", "--baseline", sample)["baseline"]
    assert judged["drop"] == point["drop"] and judged["drop_stderr"] == pytest.approx(point["stderr"])


def test_max_error_needs_no_labels_and_measures_on_other_inputs_than_it_fits(sample: str, run: Run) -> None:
    arguments = ["--max-error", "0.004", "--method", "reconstruct", "--calibration", "16", "-n", "--format", "json"]
    code, out, err = run("prune", sample, *arguments)
    assert code == 0 and "relative squared error of the logits" in err
    report = json.loads(out)
    search = report["search"]
    assert (search["sequences"], search["skipped"], report["calibration"]["sequences"]) == (16, 16, 16)
    assert all((p["error"] <= 0.004) == p["within"] for p in search["points"])
    assert 0.2 < search["chosen"] == report["ratio"]


def test_a_budget_is_measured_at_the_shape_that_it_is_asked_for(tmp_path: Path) -> None:
    ck = shared("s4d", states=10, features=4)
    np.savez(tmp_path / "x.npz", x=features(8).x)
    shapes: list[Shape | None] = [None, "ragged"]
    for shape in shapes:
        small = last.prune(ck, max_error=0.2, calibration_file=tmp_path / "x.npz", shape=shape, assume=True)
        report = small.report
        assert report is not None and report.search is not None and report.ratio == report.search.chosen
        assert all(layer.after == 4 * layer.stored for layer in report.layers) == (shape is None)
        assert small.digest == last.prune(ck, report.ratio, shape=shape).digest


@given(st.lists(st.floats(-2, 6), min_size=101, max_size=101), st.floats(0, 1), st.floats(1, 4), st.booleans())
@settings(max_examples=10, deadline=None)
def test_the_chosen_ratio_was_measured_and_keeps_to_the_budget(
    curve: list[float], more: float, budget: float, estimate: bool
) -> None:
    ck = held(last.load(S5))

    def at(small: last.Checkpoint) -> float:  # by how many go: ratios that remove the same are measured once
        layers = small.stamp["pruned"][-1]["layers"]
        return curve[round(100 * sum(np.size(layer["kept"]) for layer in layers) / 128)]

    def made_up(checkpoint: last.Checkpoint, *_: Any) -> Any:
        def drop(small: last.Checkpoint) -> searching.Lost:
            assert small.leaves == checkpoint.leaves  # the shapes that share one program
            lost = at(small) / 100
            return searching.Lost(lost, 0.0, lost + more / 100)

        return searching._Loss(drop, {"task": "none"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_losses", made_up)
        try:
            small = last.prune(ck, max_drop=budget, estimate=estimate)
        except AnswerIsNo as error:
            assert "no ratio stays within the budget" in error.message
            return
    assert small.report is not None and small.report.search is not None
    found = small.report.search
    assert at(small) + (0 if estimate else more) <= budget + 1e-9
    fitting = [p.ratio for p in found.points if p.within]
    least = len(ck.layers)  # states that stay: one a layer
    same = [r for r in fitting if max(kept_count(128, r), least) == max(kept_count(128, max(fitting)), least)]
    assert found.chosen == small.report.ratio == min(same)
    assert small.report.parameters[1] < small.report.parameters[0]


def test_all_ratios_share_one_program_for_the_logits() -> None:
    ck = digits()
    x = inputs.random(ck, 4)
    network._answers.cache_clear()
    for ratio in (0.2, 0.5):
        network.logits(last.prune(ck, ratio, masked=True), x)
    assert network._answers.cache_info().misses == 1


def test_a_budget_that_nothing_meets_exits_1_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    code, out, err = run("prune", S5, "--max-error", "0", "-q")
    lines = err.splitlines()
    assert (code, out, len(lines)) == (1, "", 2)
    assert "no ratio stays within the budget" in lines[0] and "at ratio 0.01" in lines[0]
    assert lines[1].startswith("hint: ")
    assert not list(tmp_path.iterdir())


def test_where_there_is_one_unit_no_ratio_is_left() -> None:
    ck = shared("s5-one-direction", blocks=1, states=1)
    with pytest.raises(AnswerIsNo, match="one unit is all that there is"):
        last.prune(ck, max_error=0.5, length=8, assume=True)


def test_a_budget_that_equal_answers_could_not_meet_is_refused_before_the_search(sample: str, run: Run) -> None:
    code, out, err = run("prune", sample, "--max-drop", "0.5", "--task", "digits", "-o", "small", "-q")
    lines = err.splitlines()
    assert (code, out, len(lines)) == (1, "", 2) and not Path("small").exists()
    assert "on 200 sequences" in lines[0] and "0.81 points" in lines[0] and "at least 327 sequences" in lines[0]
    assert "--estimate" in lines[1]
    report = data(run, "prune", sample, "--max-drop", "0.5", "--estimate", "--task", "digits", "-o", "small")
    assert report["search"]["rule"] == "estimate" and report["search"]["strict"] is False


def test_the_error_and_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(4000, 10))
    after = before + 0.1 * rng.normal(size=before.shape)
    error, stderr = searching._relative_error(after, before)
    assert error == pytest.approx(0.01, rel=0.05)
    parts = [
        searching._relative_error(a, b)[0] for a, b in zip(np.split(after, 100), np.split(before, 100), strict=True)
    ]
    assert stderr == pytest.approx(np.std(parts) / 10, rel=0.3)


def test_the_test_split_never_chooses() -> None:
    ck = last.load(S5)
    assert selection_request(ck, None, None).split == "val"
    with pytest.raises(UsageError, match="validates on its test data"):
        selection_request(ck, "text", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "none of --ratio, --max-drop, --max-increase and --max-error are given"),
        (["--ratio", "0.3", "--max-drop", "0.5"], "several of --ratio"),
        (["--max-drop", "-1"], "expected 0 or more"),
        (["--ratio", "0.3", "--strict"], "--strict goes with"),
        (["--ratio", "0.3", "--estimate"], "--estimate goes with"),
        (["--max-drop", "1", "--estimate", "--strict"], "--estimate and --strict are both given"),
        (["--max-error", "0.1", "--estimate"], "--estimate and --max-error are both given"),
        (["--max-drop", "0.5", "--task", "listop"], "unknown task"),
        (["--max-drop", "0.5", "--calibration", "8"], "the criterion last takes none"),
        (["--max-drop", "0.5", "--criterion", "lost"], "unknown criterion"),
        (["--max-error", "0.1", "--calibration-file", "no.npz"], "no.npz: no calibration sequences"),
    ],
)
def test_budgets_that_make_no_sense(run: Run, arguments: list[str], message: str) -> None:
    assert message in fails(run, "prune", S5, *arguments)[0]


def test_without_a_task_there_is_nothing_to_measure_on(run: Run) -> None:
    lines = fails(run, "prune", DATA / "oracle" / CASES[0] / "ckpt", "--max-drop", "0.5")
    assert "--max-drop needs a task" in lines[0] and "--max-error" in lines[1]


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ({"method": "wanda", "target": "weights"}, "a larger budget, or method='sparsegpt', may allow one"),
        ({"method": "sparsegpt", "target": "weights"}, "a larger budget may allow one"),
        ({"method": "merge", "target": "groups"}, "a larger budget may allow one"),
        ({"criterion": "flap", "target": "heads"}, "a larger budget, or method='reconstruct', may allow one"),
    ],
)
def test_the_hint_of_a_missed_budget_removes_such_units(how: dict[str, Any], hint: str) -> None:
    missed = Search("max_error", 0.1, "estimate", {}, 0.5, [SearchPoint(0.5, 0.2, 0.0, None, False, "max_error")], 0.0)
    assert searching._refusal(missed, Recipe(**how)).hint.replace('"', "'") == hint


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, str]:
    """A language model, and tokens in rows."""
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).integers(0, 60, (12, 24)))
    return directories() / "hf_groups" / "checkpoint", str(tmp_path / "rows.npz")


@pytest.mark.parametrize("how", [{"criterion": "magnitude"}, {"method": "sparsegpt"}])
def test_max_increase_takes_the_largest_ratio_whose_upper_limit_fits(
    texts: tuple[Path, str], how: dict[str, Any]
) -> None:
    source, rows = texts
    asked = {"max_increase": 0.05, "calibration_file": rows, "multiple_of": None if "method" in how else 1}
    small = last.prune(source, **asked, **how)
    assert small.report is not None and small.report.search is not None
    search = small.report.search
    best = next(point for point in search.points if point.ratio == search.chosen)
    assert search.rule == "upper limit" and best.upper is not None and best.value < best.upper <= 0.05
    assert all(point.within for point in search.points if point.ratio <= search.chosen)
    assert any(not point.within for point in search.points if point.ratio > search.chosen) or search.chosen > 0.9
    found = last.evaluate(small, rows, baseline=source).as_json()["baseline"]
    assert found["increase"] == pytest.approx(best.value, abs=1e-5)
    assert found["increase_upper"] == pytest.approx(best.upper, abs=1e-5)
    assert small.stamp["pruned"][-1]["search"]["kind"] == "max_increase"
    assert ("also_calibrated_on" in search.measured_on) == ("method" in how)


def test_max_increase_wants_a_text_of_enough_windows_and_no_pattern(
    texts: tuple[Path, str], tmp_path: Path, run: Run
) -> None:
    source, rows = texts
    np.savez(tmp_path / "few.npz", x=np.ones((4, 12), int))
    with pytest.raises(AnswerIsNo, match="cannot be shown on 4 windows"):
        last.prune(source, max_increase=0.02, task=str(tmp_path / "few.npz"))
    with pytest.raises(UsageError, match="max_increase needs a task"):
        last.prune(source, max_increase=0.02)
    with pytest.raises(UsageError, match="says it"):
        last.prune(source, method="sparsegpt", pattern="2:4", max_increase=0.02, calibration_file=rows)
    with pytest.raises(UsageError, match="max_increase is for tasks measured by perplexity"):
        last.prune(digits(), max_increase=0.02, task="digits")
    several = fails(run, "prune", str(source), "--max-increase", "2%", "--ratio", "0.5")
    assert several[0].startswith("error: several of --ratio, --max-drop, --max-increase and --max-error are given")


def test_an_increase_is_told_in_percent() -> None:
    point = SearchPoint(0.3, 0.0123, 0.002, 0.0156, True, "max_increase")
    search = Search("max_increase", 0.02, "upper limit", {"task": "text.txt"}, 0.01, [point], 0.3)
    assert in_words(search, point) == "perplexity +1.23% ± 0.20 %, at most 1.56%"
    assert search.as_json()["points"] == [
        {"ratio": 0.3, "increase": 0.0123, "stderr": 0.002, "upper": 0.0156, "within": True}
    ]
