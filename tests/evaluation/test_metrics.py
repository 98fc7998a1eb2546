"""What judges a task, and another metric as one more entry."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cases import SAMPLES
from commands import DIGITS as DIGITS_SAMPLE
from commands import Run, data, fails
from hypothesis import given, settings
from hypothesis import strategies as st

import last_cli as last
from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.display.eval import eval_view
from last_cli.display.forms import text
from last_cli.evaluation.evaluate import Request, follow_task, measure
from last_cli.evaluation.metrics import (
    METRICS,
    Metric,
    compare,
    drop,
    least_sequences,
    metric_of,
    precision_loss,
    student,
    upper_limit,
)
from last_cli.results.evaluation import Comparison, EvalReport, Increase, Measured
from last_cli.tasks.digits import DIGITS

ACCURACY = METRICS["accuracy"]


def measured(results: list[float], predicted: list[int], metric: Metric = ACCURACY) -> Measured:
    r = np.array(results)
    ones = np.ones(len(r), int)
    value, stderr = metric.value(r, ones), metric.stderr(r, ones)
    return Measured(metric.name, value, stderr, np.array(predicted), r, 0 * r, 1.0, "cpu")


def test_accuracy_is_the_share_of_right_answers() -> None:
    outputs = np.log([[0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])
    results, ones = ACCURACY.results(outputs, np.array([0, 1, 1, 0]), np.zeros(4)), np.ones(4, int)
    assert results.tolist() == [True, True, False, True]
    assert ACCURACY.value(results, ones) == 0.75
    assert ACCURACY.stderr(results, ones) == pytest.approx(np.sqrt(0.75 * 0.25 / 4))


def test_differences_are_paired() -> None:
    this, baseline = measured([1, 0, 0, 1], [1, 2, 3, 4]), measured([1, 1, 1, 0], [1, 5, 3, 6])
    found = compare("there", this, baseline)
    assert isinstance(found, Comparison)
    assert (found.path, found.metric, found.value, found.drop) == ("there", "accuracy", 0.75, 0.25)
    assert found.drop_stderr == pytest.approx(np.std([0, 1, 1, -1], ddof=1) / 2)
    assert found.agreement == 0.5
    loss = precision_loss("bfloat16", this, baseline)
    assert (loss.name, loss.drop, loss.agreement) == ("bfloat16", found.drop, found.agreement)
    assert drop("", measured([1], [1]), measured([0], [1])).drop_stderr == 0


def test_perplexity_is_the_exponential_of_the_mean_over_all_tokens() -> None:
    metric, sums, tokens = METRICS["perplexity"], np.array([6.0, 1.0, 5.0]), np.array([3, 1, 2])
    assert metric.value(sums, tokens) == pytest.approx(np.exp(2))
    said = metric.said(sums, tokens, {"word": 4, "byte": 24})
    assert said["perplexity"] == pytest.approx({"token": np.exp(2), "word": np.exp(3), "byte": np.exp(0.5)})
    assert said["bits_per_byte"] == pytest.approx(0.5 / np.log(2))
    assert metric.said(sums, tokens, {}) == {
        "perplexity": {"token": metric.value(sums, tokens), "word": None, "byte": None},
        "bits_per_byte": None,
    }
    assert metric.stderr(np.array([6.0]), np.array([3])) == 0


def test_the_errors_of_perplexities_are_those_of_repeated_draws() -> None:
    rng, metric = np.random.default_rng(0), METRICS["perplexity"]
    tokens = rng.integers(5, 40, (4000, 50))
    base = tokens * 1.5 + rng.normal(0, 1, tokens.shape) * np.sqrt(tokens)
    this = base + tokens * 0.05 + rng.normal(0, 0.1, tokens.shape) * np.sqrt(tokens)
    values = [metric.value(sums, weights) for sums, weights in zip(base, tokens, strict=True)]
    stderrs = [metric.stderr(sums, weights) for sums, weights in zip(base, tokens, strict=True)]
    assert np.mean(stderrs) == pytest.approx(np.std(values), rel=0.05)

    def language(sums: np.ndarray, weights: np.ndarray) -> Measured:
        said = metric.said(sums, weights, {})
        return Measured(metric.name, metric.value(sums, weights), 0, sums, sums, sums, 1, "cpu", 0, weights, said)

    found = [compare("b", language(a, w), language(b, w)) for a, b, w in zip(this, base, tokens, strict=True)]
    rises = [pair for pair in found if isinstance(pair, Increase)]
    assert np.mean([pair.increase for pair in rises]) == pytest.approx(np.exp(0.05) - 1, rel=0.01)
    assert np.mean([pair.increase_stderr for pair in rises]) == pytest.approx(
        np.std([pair.increase for pair in rises]), rel=0.05
    )
    assert rises[0].perplexity["token"] == pytest.approx(values[0]) and rises[0].path == "b"
    assert set(rises[0].as_json()) == {
        "path",
        "perplexity",
        "increase",
        "increase_stderr",
        "increase_upper",
    }


def test_a_task_of_an_unknown_metric_is_refused() -> None:
    assert metric_of(DIGITS) is ACCURACY
    with pytest.raises(UsageError, match="digits is judged by 'bleu', expected accuracy"):
        metric_of(replace(DIGITS, metric="bleu"))


@pytest.fixture
def nats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task digits judged by exp of the mean loss, where less is better."""

    def results(outputs: np.ndarray, labels: np.ndarray, losses: np.ndarray) -> np.ndarray:
        return -outputs[np.arange(len(labels)), labels]

    entry = Metric("nats", results, lambda r, _: float(np.exp(r.mean())), lambda r, _: float(r.std()), False)
    monkeypatch.setitem(METRICS, "nats", entry)
    monkeypatch.setitem(registry.BUILT_IN["tasks"], "digits", "elsewhere:DIGITS")
    monkeypatch.setitem(sys.modules, "elsewhere", SimpleNamespace(DIGITS=replace(DIGITS, metric="nats")))


def test_another_metric_is_one_entry(nats: None) -> None:
    ck = last.load(SAMPLES / "s5-digits")
    data = DIGITS.load("test", settings=dict(ck.stamp["task"]), limit=9)
    small = last.prune(ck, 0.8, "hinf")
    good, bad = (measure(follow_task(model, data), data, Request("digits")) for model in (ck, small))
    assert good.metric == "nats" and good.value == pytest.approx(np.exp(good.losses.mean()))
    assert bad.value > good.value
    assert drop("", bad, good).drop == pytest.approx(bad.losses.mean() - good.losses.mean())
    report = EvalReport(ck.source, {}, bad, {}, compare("", bad, good)).as_json()
    assert (report["nats"], report["baseline"]["nats"]) == (bad.value, good.value)
    assert "accuracy" not in report
    task = {"name": "digits", "version": 1, "split": "test", "source": "bundled", "length": 64}
    loss = precision_loss("bf", good, bad)
    shown = text(eval_view(EvalReport(ck.source, task, bad, {}, compare("", bad, good), precision=loss)), "md")
    assert f"{bad.value:.4g} ± {bad.stderr:.4g}" in shown and f"| {good.value:.4g} |" in shown
    change = bad.losses.mean() - good.losses.mean()
    assert f"worse by {change:.4g} ±" in shown and f"better by {change:.4g} ±" in shown
    assert "nats" in shown and not any(word in shown for word in ("accuracy", "points"))


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
    nats: None, run: Run, arguments: tuple[str, ...], what: str
) -> None:
    line, hint = fails(run, *arguments)
    assert line == f"error: {what} for tasks measured by accuracy, and digits is measured by nats"
    assert "`last eval` shows it, and --max-error prunes" in hint


def test_equal_answers_on_few_sequences_prove_little() -> None:
    """0.00 +- 0.00 on 70 sequences is up to 2.3 points."""
    assert 100 * upper_limit(0, 0, 70) == pytest.approx(2.28, abs=0.01)
    assert upper_limit(0, 0, 70) == pytest.approx(1.645 / 72)
    assert least_sequences(0.005) == 327
    assert least_sequences(0.007) == 233  # of 235, which a division gives a little more of
    assert upper_limit(0, 0, 327) <= 0.005 < upper_limit(0, 0, 326)


@given(n=st.integers(100, 400), share=st.floats(0.05, 0.2), bias=st.floats(0.5, 0.75), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_upper_limit_holds_about_19_times_in_20(n: int, share: float, bias: float, seed: int) -> None:
    p = [share * bias, share * (1 - bias), 1 - share]
    tables = np.random.default_rng(seed).multinomial(n, p, 2000)
    held = np.mean([upper_limit(int(b), int(c), n) >= p[0] - p[1] for b, c, _ in tables])
    assert held > 0.89  # of 2,000 tables; where few sequences differ it is rather 0.92 than 0.95


def test_the_strict_gate_judges_the_upper_limit(run: Run) -> None:
    base = ("eval", DIGITS_SAMPLE, "--task", "digits", "--baseline", DIGITS_SAMPLE)
    found = data(run, *base, "--max-drop", "1", "--strict")
    assert found["gates"] == [
        {"name": "max_drop", "limit": 1, "value": 100 * upper_limit(0, 0, found["n"]), "passed": True, "strict": True}
    ]
    assert "--strict goes with --max-drop" in fails(run, *base, "--strict")[0]


def test_students_quantile_is_that_of_tables() -> None:
    for n, wanted in ((5, 2.132), (10, 1.833), (30, 1.699), (1000, 1.646)):
        assert student(n) == pytest.approx(wanted, rel=3e-3)
