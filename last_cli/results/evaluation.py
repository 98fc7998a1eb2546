"""What `last eval` finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from last_cli.results.source import Json, Source, head


@dataclass(frozen=True)
class Gate:
    """A limit that a script set, and whether it holds: `max_drop` in percentage points, others as JSON has them.

    Attributes:
        upper: the value is not an estimate but what it is at most, with a confidence of 95 %.
    """

    name: str
    limit: float
    value: float
    passed: bool
    upper: bool = False

    def as_json(self) -> Json:
        """One entry of `gates` of last.eval/1."""
        said = {"name": self.name, "limit": self.limit, "value": self.value, "passed": self.passed}
        return said | ({"strict": True} if self.upper else {})


@dataclass(frozen=True)
class Measured:
    """One model on one split.

    Attributes:
        metric: the name of what judges the task.
        value, stderr: of all sequences together, and its standard error.
        predicted: the answer to each sequence, (n,).
        results: what the metric says of each, (n,): of the accuracy, whether the answer was right.
        losses: of each, (n,), in nats; where a sequence is asked for several answers, their sum.
        seconds: without compilation, and without the `resumed` sequences, which an interrupted run had done.
        weights: how many answers each is asked for, (n,); None where it is one.
        said: what JSON says of the metric besides the value and its error, or in the place of these.
    """

    metric: str
    value: float
    stderr: float
    predicted: np.ndarray
    results: np.ndarray
    losses: np.ndarray
    seconds: float
    device: str
    resumed: int = 0
    weights: np.ndarray | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many answers there are."""
        return len(self.losses) if self.weights is None else int(self.weights.sum())

    @property
    def loss(self) -> float:
        """The mean over all answers, in nats."""
        return float(self.losses.sum() / self.n)

    @property
    def accuracy(self) -> float:
        """The value of a task that is judged by accuracy: the share of right answers."""
        return self.value

    @property
    def speed(self) -> float:
        """Sequences a second."""
        return (len(self.losses) - self.resumed) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Comparison:
    """The paired difference to a baseline on the same sequences.

    Attributes:
        metric, value: what judges the task, and what it says of the baseline.
        drop: how much worse this model is; of accuracy, baseline minus this, as fractions.
        drop_upper: what it is at most, with a confidence of 95 %; see evaluation.metrics.upper_limit.
        agreement: share of equal answers.
    """

    path: str
    metric: str
    value: float
    drop: float
    drop_stderr: float
    drop_upper: float
    agreement: float

    @property
    def worse(self) -> float:
        """The drop."""
        return self.drop

    @property
    def worse_stderr(self) -> float:
        """Of the drop."""
        return self.drop_stderr

    @property
    def accuracy(self) -> float:
        """The baseline's value, where the task is judged by accuracy."""
        return self.value

    def as_json(self) -> Json:
        """The `baseline` object of last.eval/1."""
        return {
            "path": self.path,
            self.metric: self.value,
            "drop": self.drop,
            "drop_stderr": self.drop_stderr,
            "drop_upper": self.drop_upper,
            "agreement": self.agreement,
        }


@dataclass(frozen=True)
class Increase:
    """By which share the perplexity lies above a baseline's, paired over the windows of the same tokens.

    Attributes:
        perplexity: the baseline's by token, word and byte; None where there is no text.
        increase: of that by token, as a fraction.
        increase_upper: what it is at most, with a confidence of 95 %; see evaluation.metrics.increase.
    """

    path: str
    perplexity: Mapping[str, float | None]
    increase: float
    increase_stderr: float
    increase_upper: float

    @property
    def worse(self) -> float:
        """The increase."""
        return self.increase

    @property
    def worse_stderr(self) -> float:
        """Of the increase."""
        return self.increase_stderr

    def as_json(self) -> Json:
        """The `baseline` object of last.eval/1."""
        return asdict(self)


@dataclass(frozen=True)
class PrecisionLoss:
    """What a precision costs against float32, paired on the same sequences; `drop` is how much worse it is."""

    name: str
    drop: float
    drop_stderr: float
    agreement: float

    def as_json(self) -> Json:
        """The `precision` object of last.eval/1."""
        return asdict(self)


@dataclass(frozen=True)
class EvalReport:
    """What `last eval` shows.

    Attributes:
        task: name, version, split, source, length and, where cut short, `of`.
        warnings: what was guessed, and other reasons to doubt the result.
        notes: what was chosen, and what the sequences are.
        said: what JSON says of the sequences besides `task`.
    """

    checkpoint: Source
    task: Mapping[str, Any]
    measured: Measured
    assumed: Mapping[str, Any]
    baseline: Comparison | Increase | None = None
    gates: Sequence[Gate] = ()
    notes: Sequence[str] = ()
    precision: PrecisionLoss | None = None
    warnings: Sequence[str] = ()
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(gate.passed for gate in self.gates)

    @property
    def accuracy(self) -> float:
        """The share of right answers, of a task that is judged by it."""
        return self.measured.accuracy

    @property
    def stderr(self) -> float:
        """Standard error of the value."""
        return self.measured.stderr

    @property
    def loss(self) -> float:
        """The mean over all answers, in nats."""
        return self.measured.loss

    @property
    def n(self) -> int:
        """How many answers there are."""
        return self.measured.n

    def as_json(self) -> Json:
        """last.eval/1."""
        report = head("last.eval/1", self.checkpoint) | {
            "task": dict(self.task),
            self.measured.metric: self.measured.value,
            "stderr": self.stderr,
            **self.measured.said,
            "loss": self.measured.loss,
            "n": self.measured.n,
            **self.said,
            "seconds": self.measured.seconds,
            "sequences_per_second": self.measured.speed,
            "resumed": self.measured.resumed,
            "device": self.measured.device,
            "precision": self.precision.as_json() if self.precision else {"name": "float32"},
            "assumed": dict(self.assumed),
        }
        if self.baseline is not None:
            report["baseline"] = self.baseline.as_json()
        gates = [gate.as_json() for gate in self.gates]
        return report | {"gates": gates, "warnings": [*self.warnings, *self.notes]}
