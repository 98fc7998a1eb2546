"""`last eval --precision`: what a smaller precision costs, on the same sequences."""

from __future__ import annotations

import numpy as np
import pytest
from commands import DIGITS, S4D, S5, Run, data

import last_cli as last
from last_cli.base.errors import UsageError
from last_cli.evaluation import evaluate
from last_cli.evaluation.evaluate import Request, follow_task, measure
from last_cli.tasks.find import find


@pytest.mark.parametrize(("sample", "task"), [(S5, "listops"), (S4D, "listops"), (DIGITS, "digits")])
def test_bfloat16_changes_losses_a_little(sample: str, task: str) -> None:
    ck = last.load(sample)
    split = find(task).load("test", settings=dict(ck.stamp["task"]), limit=60)
    ck = follow_task(ck, split)
    exact, small = (measure(ck, split, Request(task, precision=p)).losses for p in ("float32", "bfloat16"))
    assert np.isfinite(small).all()
    assert 1e-3 * exact.mean() < np.abs(small - exact).mean() < 0.05  # losses are small where all answers are sure


def test_on_a_cpu_a_smaller_precision_is_refused(run: Run) -> None:
    for command in (("eval", S5, "--task", "listops"), ("bench", S5)):
        code, out, err = run(*command, "--precision", "bfloat16", "--device", "cpu")
        said = " ".join(err.split())
        assert (code, out) == (2, "") and "slower and less exact; expected float32" in said
        assert "--device gpu" in said and "speed.py measures it" in said


def test_the_difference_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "refuse_useless", lambda precision, devices: None)
    base = ("eval", S5, "--task", "listops", "--limit", "200")
    exact = data(run, *base)
    assert exact["precision"] == {"name": "float32"}
    report = data(run, *base, "--precision", "bfloat16")
    precision = report["precision"]
    assert precision["name"] == "bfloat16"
    assert precision["drop"] == pytest.approx(exact["accuracy"] - report["accuracy"])
    assert 0.9 < precision["agreement"] <= 1
    assert "bfloat16 against float32" in run(*base, "--precision", "bfloat16", "--format", "md")[1]


def test_other_precisions_are_refused() -> None:
    with pytest.raises(UsageError, match="float16"):
        last.evaluate(last.load(S5), "listops", precision="float16")
