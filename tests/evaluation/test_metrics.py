"""What judges a task, and another metric as one more entry."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cases import SAMPLES
from commands import DIGITS as DIGITS_SAMPLE
from commands import Run, fails

import last_cli as last
from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.display.eval import show_eval
from last_cli.evaluation.evaluate import Request, follow_task, measure
from last_cli.evaluation.metrics import METRICS, Metric, compare, metric_of, precision_loss
from last_cli.results.evaluation import EvalReport, Measured
from last_cli.tasks.digits import DIGITS

ACCURACY = METRICS["accuracy"]


def measured(results: list[float], predicted: list[int], metric: Metric = ACCURACY) -> Measured:
    r = np.array(results)
    return Measured(metric.name, metric.value(r), metric.stderr(r), np.array(predicted), r, 0 * r, 1.0, "cpu")


def test_accuracy_is_the_share_of_right_answers() -> None:
    outputs = np.log([[0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])
    results = ACCURACY.results(outputs, np.array([0, 1, 1, 0]))
    assert results.tolist() == [True, True, False, True]
    assert ACCURACY.value(results) == 0.75
    assert ACCURACY.stderr(results) == pytest.approx(np.sqrt(0.75 * 0.25 / 4))


def test_differences_are_paired() -> None:
    this, baseline = measured([1, 0, 0, 1], [1, 2, 3, 4]), measured([1, 1, 1, 0], [1, 5, 3, 6])
    found = compare("there", this, baseline)
    assert (found.path, found.metric, found.value, found.drop) == ("there", "accuracy", 0.75, 0.25)
    assert found.drop_stderr == pytest.approx(np.std([0, 1, 1, -1], ddof=1) / 2)
    assert found.agreement == 0.5
    loss = precision_loss("bfloat16", this, baseline)
    assert (loss.name, loss.drop, loss.agreement) == ("bfloat16", found.drop, found.agreement)
    assert compare("", measured([1], [1]), measured([0], [1])).drop_stderr == 0


def test_a_task_of_an_unknown_metric_is_refused() -> None:
    assert metric_of(DIGITS) is ACCURACY
    with pytest.raises(UsageError, match="digits is judged by 'bleu', expected accuracy"):
        metric_of(replace(DIGITS, metric="bleu"))


@pytest.fixture
def perplexity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task digits judged by exp of the mean loss, where less is better."""

    def nats(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return -outputs[np.arange(len(labels)), labels]

    entry = Metric("perplexity", nats, lambda r: float(np.exp(r.mean())), lambda r: float(r.std()), False)
    monkeypatch.setitem(METRICS, "perplexity", entry)
    monkeypatch.setitem(registry.BUILT_IN["tasks"], "digits", "elsewhere:DIGITS")
    monkeypatch.setitem(sys.modules, "elsewhere", SimpleNamespace(DIGITS=replace(DIGITS, metric="perplexity")))


def test_another_metric_is_one_entry(perplexity: None, capsys: pytest.CaptureFixture[str]) -> None:
    ck = last.load(SAMPLES / "s5-digits")
    data = DIGITS.load("test", settings=dict(ck.stamp["task"]), limit=9)
    small = last.prune(ck, 0.8, "hinf")
    good, bad = (measure(follow_task(model, data), data, Request("digits")) for model in (ck, small))
    assert good.metric == "perplexity" and good.value == pytest.approx(np.exp(good.losses.mean()))
    assert bad.value > good.value
    assert compare("", bad, good).drop == pytest.approx(bad.losses.mean() - good.losses.mean())
    report = EvalReport(ck.source, {}, bad, {}, compare("", bad, good)).as_json()
    assert (report["perplexity"], report["baseline"]["perplexity"]) == (bad.value, good.value)
    assert "accuracy" not in report
    show_eval(
        EvalReport(ck.source, {}, bad, {}, compare("", bad, good), precision=precision_loss("bf", good, bad)), "md"
    )
    shown = capsys.readouterr().out
    assert f"{bad.value:.4g} ± {bad.stderr:.4g}" in shown and f"| {good.value:.4g} |" in shown
    change = bad.losses.mean() - good.losses.mean()
    assert f"worse by {change:.4g} ±" in shown and f"better by {change:.4g} ±" in shown
    assert "perplexity" in shown and not any(word in shown for word in ("accuracy", "points"))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("eval", DIGITS_SAMPLE, "--task", "digits", "--min-accuracy", "0.5"), "--min-accuracy is"),
        (("eval", DIGITS_SAMPLE, "--task", "digits", "--baseline", DIGITS_SAMPLE, "--max-drop", "1"), "--max-drop is"),
        (("prune", DIGITS_SAMPLE, "--task", "digits", "--max-drop", "1", "-n"), "--max-drop is"),
        (("sweep", DIGITS_SAMPLE, "--task", "digits"), "a sweep is"),
    ],
)
def test_what_speaks_of_accuracy_is_refused_for_another_metric(
    perplexity: None, run: Run, arguments: tuple[str, ...], what: str
) -> None:
    line, hint = fails(run, *arguments)
    assert line == f"error: {what} of accuracy, and task digits is judged by perplexity"
    assert "`last eval` shows it, and --max-error prunes" in hint
