"""What tasks are judged by: from a network's outputs and the labels to one number, its error, and paired differences.

Another metric is one more entry of METRICS; a task names the one that judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from last_cli.base.annotations import Float, Int, Shaped
from last_cli.base.errors import UsageError
from last_cli.results.evaluation import Comparison, Increase, Measured, PrecisionLoss
from last_cli.tasks.task import ACCURACY, PERPLEXITY, Task

Results = Shaped[np.ndarray, " n"]  # numbers, or truths
Losses = Float[np.ndarray, " n"]
Weights = Int[np.ndarray, " n"]

QUANTILE = 1.645
"""Of the normal distribution: 95 % lie below."""

GATES = {"min_accuracy": ACCURACY, "max_drop": ACCURACY, "max_perplexity": PERPLEXITY, "max_increase": PERPLEXITY}
"""The metric that each gate speaks of."""


@dataclass(frozen=True)
class Metric:
    """How answers are judged.

    Attributes:
        name: what the JSON calls the value.
        results: outputs of Network.forward in float64 (n, outputs), labels and losses -> what each sequence adds.
        value: the results of all sequences, and how many answers each is asked for -> one number.
        stderr: the same -> that number's standard error.
        higher_is_better: whether a model with larger results is the better one.
        said: see Measured; from the same, and the words and bytes behind the answers where there is a text.
        compare: see compare.
    """

    name: str
    results: Callable[[Float[np.ndarray, "n outputs"], Int[np.ndarray, " n"], Losses], Results]
    value: Callable[[Results, Weights], float]
    stderr: Callable[[Results, Weights], float]
    higher_is_better: bool = True
    said: Callable[[Results, Weights, Mapping[str, int]], dict[str, Any]] = lambda results, weights, text: {}
    compare: Callable[[str, Measured, Measured], Comparison | Increase] | None = None


def metric_of(task: Task) -> Metric:
    """The metric that judges a task; raises UsageError where it is not known."""
    if task.metric not in METRICS:
        raise UsageError(
            f"task {task.name} is judged by '{task.metric}', expected {' or '.join(METRICS)}",
            "another version of last, or of the package that adds the task, may know it",
        )
    return METRICS[task.metric]


def expect(task: Task, wanted: str, what: str) -> None:
    """Raises UsageError unless the metric wanted judges the task: `what` has no meaning for anything else."""
    if (metric := metric_of(task)).name != wanted:
        own = " and ".join(f"⟦{gate}⟧" for gate, name in GATES.items() if name == metric.name)
        raise UsageError(
            f"{what} is for tasks measured by {wanted}, and {task.name} is measured by {metric.name}",
            f"`last eval` shows it{f' and judges it by {own}' if own else ''}, and ⟦max_error⟧ prunes by the outputs "
            "alone, without labels",
        )


def compare(path: str, this: Measured, baseline: Measured) -> Comparison | Increase:
    """How much worse a model is than a baseline (at `path`) that answered the same sequences."""
    return (METRICS[this.metric].compare or drop)(path, this, baseline)


def drop(path: str, this: Measured, baseline: Measured) -> Comparison:
    """The mean over the sequences of how much worse their results are."""
    worse = baseline.results.astype(float) - this.results.astype(float)
    if not METRICS[this.metric].higher_is_better:
        worse = -worse
    return Comparison(
        path,
        baseline.metric,
        baseline.value,
        float(worse.mean()),
        float(worse.std(ddof=1) / np.sqrt(len(worse))) if len(worse) > 1 else 0.0,
        upper_limit(int((worse > 0).sum()), int((worse < 0).sum()), len(worse)),
        float((baseline.predicted == this.predicted).mean()),
    )


def upper_limit(lost: int, won: int, n: int) -> float:
    """What the accuracy has dropped by at most, with a confidence of 95 %, as a fraction.

    The difference of a paired table with half a pair added to each of its two cells that differ, so that equal answers
    on few sequences prove little: d + 1.645 sqrt(b + c - (b - c)^2 / n) / n with b = lost + 1/2, c = won + 1/2 and two
    sequences more (the adjusted Wald interval of Agresti and Min 2005).

    Args:
        lost: sequences that the baseline alone answers rightly.
        won: those that the other alone does.
        n: sequences.
    """
    b, c, n = lost + 0.5, won + 0.5, n + 2
    return float((b - c + QUANTILE * np.sqrt(b + c - (b - c) ** 2 / n)) / n)


def least_sequences(drop: float) -> float:
    """How many sequences an unchanged network needs for an upper limit that fits into a drop, a fraction."""
    return np.ceil(QUANTILE / drop - 2 - 1e-9) if drop > 0 else np.inf


def precision_loss(name: str, this: Measured, exact: Measured) -> PrecisionLoss:
    """What a precision costs, from the same model's answers in it and in float32."""
    pair = drop("", this, exact)
    return PrecisionLoss(name, drop=pair.drop, drop_stderr=pair.drop_stderr, agreement=pair.agreement)


def proportion_stderr(results: Results, weights: Weights) -> float:
    """sqrt(p (1 - p) / n)."""
    p = float(results.mean())
    return float(np.sqrt(p * (1 - p) / len(results)))


def mean_stderr(sums: Losses, weights: Weights) -> float:
    """The standard error of sum(sums) / sum(weights), a ratio of two means over the sequences."""
    n, total = len(sums), weights.sum()
    rest = sums - weights * (sums.sum() / total)
    return float(np.sqrt(n / (n - 1) * np.square(rest).sum()) / total) if n > 1 else 0.0


def perplexity(sums: Losses, weights: Weights) -> float:
    """The exponential of the mean loss of a token."""
    return _exponential(sums.sum() / weights.sum())


def by_unit(sums: Losses, weights: Weights, text: Mapping[str, int]) -> dict[str, float | None]:
    """The perplexity by token, word and byte; None without a text."""
    counts = {"token": int(weights.sum()), "word": text.get("word"), "byte": text.get("byte")}
    return {unit: _exponential(sums.sum() / count) if count else None for unit, count in counts.items()}


def perplexities(sums: Losses, weights: Weights, text: Mapping[str, int]) -> dict[str, Any]:
    """The perplexity by token, word and byte, and bits per byte; None without a text."""
    size = text.get("byte")
    bits = float(sums.sum() / size / np.log(2)) if size else None
    return {PERPLEXITY: by_unit(sums, weights, text), "bits_per_byte": bits}


def increase(path: str, this: Measured, baseline: Measured) -> Increase:
    """By which share the perplexity has grown: exp of the difference of the mean losses, paired by window.

    It is at most the exponential of that difference and its standard error times Student's quantile.
    """
    assert this.weights is not None
    sums = this.results.astype(np.float64) - baseline.results.astype(np.float64)
    ratio, stderr = perplexity(sums, this.weights), mean_stderr(sums, this.weights)
    upper = _exponential(np.log(ratio) + student(len(sums)) * stderr) if 0 < ratio < np.inf else ratio
    return Increase(path, baseline.said[PERPLEXITY], ratio - 1, ratio * stderr, upper - 1)


def student(n: int) -> float:
    """The quantile of Student's distribution of n numbers of which 95 % lie below, to 0.3 % from 5 numbers on.

    The expansion about that of the normal distribution (Abramowitz and Stegun 26.7.5).
    """
    z, v = QUANTILE, max(n - 1, 1)
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + sum(term / v**k for k, term in enumerate(terms, 1))


def _exponential(nats: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(nats))


METRICS = {
    ACCURACY: Metric(
        name=ACCURACY,
        results=lambda outputs, labels, losses: outputs.argmax(axis=-1) == labels,
        value=lambda results, weights: float(results.mean()),
        stderr=proportion_stderr,
    ),
    PERPLEXITY: Metric(
        name=PERPLEXITY,
        results=lambda outputs, labels, losses: losses,
        value=perplexity,
        stderr=lambda sums, weights: perplexity(sums, weights) * mean_stderr(sums, weights),
        higher_is_better=False,
        said=perplexities,
        compare=increase,
    ),
}
