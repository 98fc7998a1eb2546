"""`last eval`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import typer
from commands import DIGITS, S4D, S5, Run, data, fails
from random_layers import classifier, write

import last_cli as last
from last_cli.cli.gates import share


def test_samples_reach_what_they_promise() -> None:
    for sample, least in ((S5, 0.5), (S4D, 0.5), (DIGITS, 0.97)):
        assert last.load(sample).stamp["training"]["accuracy"]["test"] >= least
        assert sum(f.stat().st_size for f in Path(sample).rglob("*") if f.is_file()) < 3e6


def test_gates_decide_the_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ("eval", S5, "--task", "listops", "--limit", "200")
    assert data(run, *base, "--min-accuracy", "0.3")["gates"][0]["passed"]
    assert data(run, *base, "--min-accuracy", "30", "--baseline", S5, "--max-drop", "0")["gates"][1]["value"] == 0
    gate = data(run, *base, "--min-accuracy", "0.99", code=1)["gates"][0]
    assert gate == {"name": "min_accuracy", "limit": 0.99, "value": gate["value"], "passed": False}
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, _, err = run(*base, "--min-accuracy", "99")
    assert code == 1
    assert "::error::s5-listops: gate failed: accuracy" in err


def test_a_partial_run_says_so(run: Run) -> None:
    report = data(run, "eval", S5, "--task", "listops", "--limit", "50")
    assert report["n"] == report["task"]["limit"] == 50
    assert any("first 50" in warning for warning in report["warnings"])
    assert "generated" in run("eval", S5, "--task", "listops", "--limit", "50")[2]


def test_eval_in_every_form(run: Run) -> None:
    arguments = ("eval", S5, "--task", "listops", "--limit", "50", "--baseline", S5)
    assert "difference (paired)" in run(*arguments)[1]
    assert run(*arguments, "--format", "md")[1].startswith("### last eval s5-listops on listops\n\n|  | accuracy |")
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv")[1])))
    assert float(rows[0]["baseline_drop"]) == 0
    assert (rows[0]["path"], rows[0]["task"], rows[0]["split"]) == (S5, "listops", "test")


def test_batch_size_does_not_change_the_answers(run: Run) -> None:
    results = [
        data(run, "eval", S5, "--task", "listops", "--limit", "101", "--batch-size", size)["accuracy"]
        for size in ("1", "7", "64")
    ]
    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--window", "9"), "--window cuts the sequences of a language model, and task listops has sequences of its"),
        (("--stride", "9"), "--stride cuts the sequences of a language model"),
        (("--max-perplexity", "9"), "--max-perplexity is for tasks measured by perplexity, and listops is measured by"),
        (("--max-increase", "2%", "--baseline", S5), "--max-increase is for tasks measured by perplexity, and listops"),
        (("--max-increase", "2%"), "--max-increase compares with a baseline, and none is given"),
        (("--max-perplexity", "0.5"), "--max-perplexity is 0.5, expected at least 1"),
        (("--max-increase", "inf%", "--baseline", S5), "--max-increase is inf, expected a share"),
    ],
)
def test_what_is_of_texts_is_refused_for_classes(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in fails(run, "eval", S5, "--task", "listops", *arguments)[0]


def test_a_classifier_does_not_predict_tokens(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=[[1, 2, 3]])
    line, hint = fails(run, "eval", S5, "--task", tmp_path / "t.npz")
    assert "the model is a classifier, but the task asks for the next token" in line and "of x and y" in hint


def test_a_share_is_a_fraction_or_has_a_sign() -> None:
    assert [share(text) for text in ("2%", "0.02", "-1%", "150%")] == [0.02, 0.02, -0.01, 1.5]
    for text in ("2", "two"):
        with pytest.raises(typer.BadParameter):
            share(text)


def test_without_a_task_it_is_the_one_of_the_training(run: Run, tmp_path: Path) -> None:
    task = data(run, "eval", S5, "--limit", "20")["task"]
    assert (task["name"], task["split"]) == ("listops", "test")
    swept = data(run, "sweep", S5, "--limit", "20", "--ratios", "0.5", "--criteria", "last", "--seeds", "1")["task"]
    assert (swept["name"], swept["split"]) == ("listops", "val")
    bare = write(tmp_path / "bare", classifier())
    for command in ("eval", "sweep"):
        lines = fails(run, command, bare)
        assert "no --task is given" in lines[0] and "does not say on which it was trained" in lines[0]
        assert "`last list tasks`" in lines[1]
