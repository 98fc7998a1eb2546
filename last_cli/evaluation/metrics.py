"""What tasks are judged by: from a network's outputs and the labels to one number, its error, and paired differences.

Another metric is one more entry of METRICS; a task names the one that judges it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Float, Int, Shaped
from last_cli.base.errors import UsageError
from last_cli.results.evaluation import Comparison, Measured, PrecisionLoss
from last_cli.tasks.task import ACCURACY, Task

Results = Shaped[np.ndarray, " n"]  # numbers, or truths


@dataclass(frozen=True)
class Metric:
    """How answers are judged.

    Attributes:
        name: what the JSON calls the value.
        results: outputs of Network.forward in float64 (n, d_output) and labels -> what each sequence contributes.
        value: the results of all sequences -> one number.
        stderr: the same -> that number's standard error.
        higher_is_better: whether a model with larger results is the better one.
    """

    name: str
    results: Callable[[Float[np.ndarray, "n d_output"], Int[np.ndarray, " n"]], Results]
    value: Callable[[Results], float]
    stderr: Callable[[Results], float]
    higher_is_better: bool


def metric_of(task: Task) -> Metric:
    """The metric that judges a task; raises UsageError where it is not known."""
    if task.metric not in METRICS:
        raise UsageError(
            f"task {task.name} is judged by '{task.metric}', expected {' or '.join(METRICS)}",
            "another version of last, or of the package that adds the task, may know it",
        )
    return METRICS[task.metric]


def expect_accuracy(task: Task, what: str) -> None:
    """Raises UsageError unless accuracy judges the task: `what` has no meaning for anything else."""
    if (metric := metric_of(task)).name != ACCURACY:
        raise UsageError(
            f"{what} is of accuracy, and task {task.name} is judged by {metric.name}",
            "`last eval` shows it, and ⟦max_error⟧ prunes by the outputs alone, without labels",
        )


def compare(path: str, this: Measured, baseline: Measured) -> Comparison:
    """How much worse a model is than a baseline (at `path`) that answered the same sequences."""
    worse = baseline.results.astype(float) - this.results.astype(float)
    if not METRICS[this.metric].higher_is_better:
        worse = -worse
    return Comparison(
        path,
        baseline.metric,
        baseline.value,
        float(worse.mean()),
        float(worse.std(ddof=1) / np.sqrt(len(worse))) if len(worse) > 1 else 0.0,
        float((baseline.predicted == this.predicted).mean()),
    )


def precision_loss(name: str, this: Measured, exact: Measured) -> PrecisionLoss:
    """What a precision costs, from the same model's answers in it and in float32."""
    pair = compare("", this, exact)
    return PrecisionLoss(name, pair.drop, pair.drop_stderr, pair.agreement)


def proportion_stderr(results: Results) -> float:
    """sqrt(p (1 - p) / n)."""
    p = float(results.mean())
    return float(np.sqrt(p * (1 - p) / len(results)))


METRICS = {
    ACCURACY: Metric(
        name=ACCURACY,
        results=lambda outputs, labels: outputs.argmax(axis=-1) == labels,
        value=lambda results: float(results.mean()),
        stderr=proportion_stderr,
        higher_is_better=True,
    ),
}
