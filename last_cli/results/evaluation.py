"""What `last eval` finds out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from last_cli.base.record import Record, Result
from last_cli.results.source import Source
from last_cli.tasks.task import ACCURACY, PERPLEXITY


@dataclass(frozen=True, repr=False)
class Gate(Record):
    """A limit that a script set, and whether it holds.

    Attributes:
        name: of the gate.
        limit: of `max_drop` in percentage points, of others as JSON has the value.
        value: what was measured, in the same unit.
        passed: whether it holds.
        strict: the value is not an estimate but what it is at most, with a confidence of 95 %; absent where it is one.
    """

    json_optional = ("strict",)

    name: str
    limit: float
    value: float
    passed: bool
    strict: bool = False

    def _left_out(self) -> Collection[str]:
        return () if self.strict else ("strict",)


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
    def speed(self) -> float:
        """Sequences a second."""
        return (len(self.losses) - self.resumed) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """The paired difference to a baseline on the same sequences.

    Attributes:
        path: where the baseline lies.
        metric, value: what judges the task, and what it says of the baseline.
        drop: how much worse this model is; of accuracy, baseline minus this, as fractions.
        drop_stderr: its standard error.
        drop_upper: what it is at most, with a confidence of 95 %.
        agreement: share of equal answers.
    """

    json_keys = ("path", "accuracy", "drop", "drop_stderr", "drop_upper", "agreement")
    json_optional = ("accuracy",)
    json_open = ("named",)

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
    def accuracy(self) -> float | None:
        """The baseline's, where the task is judged by accuracy."""
        return self.value if self.metric == ACCURACY else None

    @property
    def named(self) -> dict[str, float]:
        """The baseline's value by the name of the metric."""
        return {self.metric: self.value}


@dataclass(frozen=True, repr=False)
class Increase(Record):
    """By which share the perplexity lies above a baseline's, paired over the windows of the same tokens.

    Attributes:
        path: where the baseline lies.
        perplexity: the baseline's by token, word and byte; null where there is no text.
        increase: of that by token, as a fraction.
        increase_stderr: its standard error.
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


@dataclass(frozen=True, repr=False)
class Precision(Record):
    """The numbers that the network ran in.

    Attributes:
        name: of the numbers.
    """

    name: str = "float32"


@dataclass(frozen=True, repr=False)
class PrecisionLoss(Precision):
    """What a precision costs against float32, paired on the same sequences.

    Attributes:
        name: of the numbers.
        drop: how much worse the model is.
        drop_stderr: its standard error.
        agreement: share of equal answers.
    """

    drop: float = field(kw_only=True)
    drop_stderr: float = field(kw_only=True)
    agreement: float = field(kw_only=True)


@dataclass(frozen=True, repr=False)
class EvalReport(Result):
    """What `last eval` shows.

    Attributes:
        checkpoint: what was evaluated.
        task: name, version, split, source, length and, where cut short, `of`.
        measured: the answers.
        assumed: what nothing but our assumption decides.
        baseline: the paired difference to another checkpoint; absent where there is none.
        gates: the limits that were set.
        notes: what was chosen, and what the sequences are.
        precision: of the numbers, and what they cost.
        doubts: what was guessed, and other reasons to doubt the result.
        said: what JSON says of the sequences besides `task`.
    """

    command = "eval"
    headline = ("checkpoint", "task", "accuracy", "perplexity", "stderr", "n")
    json_keys = (
        "checkpoint", "task", "accuracy", "perplexity", "stderr", "bits_per_byte", "loss", "n", "seconds",
        "sequences_per_second", "resumed", "device", "precision", "assumed", "baseline", "gates", "warnings",
    )  # fmt: skip
    json_optional = ("accuracy", "perplexity", "bits_per_byte", "baseline")
    json_open = ("said", "named")

    checkpoint: Source
    task: Mapping[str, Any]
    measured: Measured
    assumed: Mapping[str, Any]
    baseline: Comparison | Increase | None = None
    gates: Sequence[Gate] = ()
    notes: Sequence[str] = ()
    precision: Precision | PrecisionLoss = Precision()
    doubts: Sequence[str] = ()
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(gate.passed for gate in self.gates)

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; absent where the task is judged by something else."""
        return self.measured.value if self.measured.metric == ACCURACY else None

    @property
    def perplexity(self) -> Mapping[str, float | None] | None:
        """By token, word and byte, null where there is no text; of language models alone."""
        return self.measured.said.get(PERPLEXITY)

    @property
    def bits_per_byte(self) -> float | None:
        """Of language models alone; null where there is no text."""
        return self.measured.said.get("bits_per_byte")

    @property
    def stderr(self) -> float:
        """Standard error of accuracy or perplexity."""
        return self.measured.stderr

    @property
    def loss(self) -> float:
        """The mean over all answers, in nats."""
        return self.measured.loss

    @property
    def n(self) -> int:
        """How many answers there are."""
        return self.measured.n

    @property
    def seconds(self) -> float:
        """Without compilation, and without what was taken up."""
        return self.measured.seconds

    @property
    def sequences_per_second(self) -> float:
        """Of those that were evaluated in these seconds."""
        return self.measured.speed

    @property
    def resumed(self) -> int:
        """Sequences taken up from an interrupted run."""
        return self.measured.resumed

    @property
    def device(self) -> str:
        """What it ran on."""
        return self.measured.device

    @property
    def warnings(self) -> list[str]:
        """Doubts and notes."""
        return [*self.doubts, *self.notes]

    @property
    def named(self) -> dict[str, Any]:
        """What else the metric says, and the value of one that has no attribute here."""
        return {self.measured.metric: self.measured.value, **self.measured.said}

    def _left_out(self) -> Collection[str]:
        return {*super()._left_out()} - {*self.measured.said}
