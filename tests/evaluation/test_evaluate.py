"""What an evaluation says of itself: guesses, chance, and numbers that are not finite."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, data, fails
from random_layers import classifier, write
from random_networks import shared

import last_cli as last
from last_cli.checkpoint.guess import guesses
from last_cli.evaluation.evaluate import chance, guesses_on
from last_cli.evaluation.judge import selection_request
from last_cli.families.lti.config import ModelConfig
from last_cli.results.evaluation import Measured
from last_cli.tasks.task import Split, Task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 8, 7)).astype(np.float32)


def said(path: Path, arrays: dict[Any, np.ndarray] | None = None, **stamp: Any) -> Path:
    """A checkpoint that says its configuration."""
    return write(path, arrays or classifier(), {"model": asdict(ModelConfig()), **stamp})


@pytest.fixture
def task(tmp_path: Path) -> str:
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(12) % 5)
    return str(tmp_path / "x.npz")


@pytest.fixture
def broken() -> dict[Any, np.ndarray]:
    """A classifier none of whose logits is finite."""
    arrays = classifier()
    arrays[("params", "decoder", "bias")] = np.full(5, np.inf, np.float32)
    return arrays


def test_guesses_are_warnings_on_stderr_and_in_json_and_a_gate_needs_assume(
    run: Run, tmp_path: Path, task: str
) -> None:
    bare, gate = write(tmp_path / "bare", classifier()), ("--min-accuracy", "0")
    line, hint = fails(run, "eval", bare, "--task", task, *gate)
    assert "--min-accuracy would judge by a guess: discretization = zoh" in line and "activation = half_glu1" in line
    assert "--activation" in hint and "--assume" in hint
    code, out, err = run("eval", bare, "--task", task, *gate, "--assume", "--format", "json")
    assert code == 0
    for name in ("discretization", "conj_sym", "activation", "prenorm", "mode"):
        assert f'"{name} = ' in out and f"warning: {name} = " in err
    assert "padded = " not in out  # nothing is
    written = said(tmp_path / "said")
    report = data(run, "eval", written, "--task", task, *gate)
    assert [line for line in report["warnings"] if " is a guess" in line] == []
    assert data(run, "eval", bare, "--task", task, *gate, "--config-from", written)["gates"][0]["passed"]


def test_an_accuracy_no_better_than_chance_is_a_warning() -> None:
    ck = shared()  # five classes

    def found(right: int) -> list[str]:
        results = np.arange(100) < right
        p = right / 100
        return chance(ck, Measured("accuracy", p, (p * (1 - p) / 100) ** 0.5, results, results, results, 1.0, "cpu"))

    (warning,) = found(20)
    assert "accuracy 20.0% is no better than chance (1 in 5 classes, 20.0%)" in warning
    assert found(28) and found(0) and not found(30)


def test_a_generated_split_rests_on_the_trained_lengths(tmp_path: Path) -> None:
    split = Split(np.zeros((2, 9), np.int32), np.zeros(2, np.int64), np.ones(2, np.int64), "generated", 5, 9, None, "")
    ck = last.load(said(tmp_path / "ckpt"))
    (guess,) = guesses_on(ck, "listops", split)
    assert str(guess) == "task = listops is a guess: its usual length of 9 steps, as nothing says the trained one"
    known = last.load(said(tmp_path / "known", task={"name": "listops", "length": 9}))
    assert guesses_on(known, "listops", split) == [] == guesses_on(ck, "listops", replace(split, source="files"))
    assert (
        guesses_on(last.load(write(tmp_path / "bare", classifier()), preset="s5-lra-listops"), "listops", split) == []
    )


def test_logits_that_are_not_finite_are_counted_and_no_gate_passes(
    run: Run, tmp_path: Path, task: str, broken: dict[Any, np.ndarray]
) -> None:
    ckpt = said(tmp_path / "ckpt", broken)
    line, _ = fails(run, "eval", ckpt, "--task", task, "--min-accuracy", "0")
    assert "the logits of 12 of 12 sequences are not finite" in line and "params/decoder/bias" in line
    assert "are not finite" in fails(run, "sweep", ckpt, "--task", task, "--split", "test", "--ratios", "0.5")[0]


def test_logits_that_are_not_finite_end_calibration_and_budgets(tmp_path: Path, broken: dict[Any, np.ndarray]) -> None:
    np.savez(tmp_path / "c.npz", x=X)
    ckpt = last.load(said(tmp_path / "ckpt", broken))
    for wanted in ({"max_error": 0.1}, {"ratio": 0.5, "refit": True}, {"ratio": 0.5, "criterion": "gn"}):
        with pytest.raises(last.CheckpointError, match=r"the logits of (\d+) of \1 sequences are not finite"):
            last.prune(ckpt, **wanted, calibration_file=tmp_path / "c.npz")  # pyright: ignore[reportArgumentType]


def test_whatever_runs_the_network_tells_its_guesses(tmp_path: Path, task: str) -> None:
    np.savez(tmp_path / "c.npz", x=X)
    bare = last.load(write(tmp_path / "bare", classifier(blocks=1)))
    names = {guess.name for guess in guesses(bare)}
    scored = last.score(bare, "gn", calibration_file=tmp_path / "c.npz")
    refitted = last.prune(bare, 0.5, refit=True, calibration_file=tmp_path / "c.npz").report
    budget = last.prune(bare, max_error=10.0, assume=True, calibration_file=tmp_path / "c.npz").report
    swept = last.sweep(bare, task, ratios=[0], criteria=["last"])
    assert refitted and budget
    for report in (scored, refitted, budget, swept):
        assert {line.split(" = ")[0] for line in report.warnings if " is a guess: " in line} == names
    assert last.score(bare).warnings == [] == last.prune(bare, 0.5).report.warnings  # pyright: ignore[reportOptionalMemberAccess]


def test_the_length_of_a_task_that_nothing_tells_is_a_guess_of_what_calibrates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    x = np.zeros((12, 9, 7), np.float32)
    made = Split(x, np.arange(12) % 5, None, "generated", 5, 9, None, "")
    task = Task("made", 1, "", lambda query: made, selection_split="val")
    monkeypatch.setattr("last_cli.tasks.find.find", lambda name: task)
    monkeypatch.setattr("last_cli.evaluation.evaluate.find", lambda name: task)
    ckpt = last.load(said(tmp_path / "ckpt"))
    warning = "task = made is a guess: its usual length of 9 steps, as nothing says the trained one"
    for found in (last.score(ckpt, "gn", task="made"), last.prune(ckpt, 0.5, refit=True, task="made").report):
        assert found and warning in found.warnings
    with pytest.raises(last.UsageError, match="max_error would judge by a guess: task = made") as caught:
        last.prune(ckpt, max_error=10.0, task="made")
    assert "`last config CKPT`" in caught.value.hint and "task" in caught.value.options
    assert warning in last.prune(ckpt, max_error=10.0, task="made", assume=True).report.warnings  # pyright: ignore[reportOptionalMemberAccess]
    known = last.load(said(tmp_path / "known", task={"name": "made", "length": 9}))
    assert last.score(known, "gn", task="made").warnings == []


def test_a_gate_names_all_guesses_in_one_round(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(12) % 5, lengths=np.full(12, 5))
    np.savez(tmp_path / "c.npz", x=X, lengths=np.full(12, 5))
    bare = last.load(write(tmp_path / "bare", classifier()))
    bare = replace(bare, config=replace(bare.config, mode="pool"))
    with pytest.raises(last.UsageError, match=r"activation = half_glu1.*padded = true"):
        last.evaluate(bare, str(tmp_path / "x.npz"), min_accuracy=0.1)
    with pytest.raises(last.UsageError, match=r"activation = half_glu1.*padded = true"):
        last.prune(bare, max_error=10.0, calibration_file=tmp_path / "c.npz")


def test_a_task_that_is_not_here_is_named_by_no_command(run: Run, tmp_path: Path) -> None:
    ckpt = said(tmp_path / "ckpt", task={"name": "dvs-gesture", "length": 8})
    assert "last eval pruned --task TASK" in run("prune", ckpt, "--ratio", "0.3")[2].replace("\n", " ")
    with pytest.raises(last.UsageError, match="was trained on 'dvs-gesture', which is no task here"):
        selection_request(last.load(ckpt), None, None)
    assert last.load(ckpt).task["name"] == "dvs-gesture"
