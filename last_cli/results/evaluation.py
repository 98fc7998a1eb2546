"""What `last eval` finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from last_cli.results.source import Json, Source, head


@dataclass(frozen=True)
class Gate:
    """A limit that a script set, and whether it holds: `max_drop` in percentage points, `min_accuracy` a fraction."""

    name: str
    limit: float
    value: float
    passed: bool

    def as_json(self) -> Json:
        """One entry of `gates` of last.eval/1."""
        return {"name": self.name, "limit": self.limit, "value": self.value, "passed": self.passed}


@dataclass(frozen=True)
class Measured:
    """One model on one split: what it predicted (n,), whether that was right (n,), and its losses (n,) in nats.

    `seconds` is without compilation, and without the `resumed` sequences, which an interrupted run had done.
    """

    predicted: np.ndarray
    correct: np.ndarray
    losses: np.ndarray
    seconds: float
    device: str
    resumed: int = 0

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.mean())

    @property
    def speed(self) -> float:
        """Sequences a second."""
        return (len(self.correct) - self.resumed) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Comparison:
    """The paired difference to a baseline on the same sequences; `drop` is baseline minus this, as fractions."""

    path: str
    accuracy: float
    drop: float
    drop_stderr: float
    agreement: float

    @classmethod
    def of(cls, path: str, this: Measured, baseline: Measured) -> Comparison:
        """From both models' answers to the same sequences."""
        difference = baseline.correct.astype(float) - this.correct.astype(float)
        return cls(
            path,
            baseline.accuracy,
            float(difference.mean()),
            float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0,
            float((baseline.predicted == this.predicted).mean()),
        )

    def as_json(self) -> Json:
        """The `baseline` object of last.eval/1."""
        return {
            "path": self.path,
            "accuracy": self.accuracy,
            "drop": self.drop,
            "drop_stderr": self.drop_stderr,
            "agreement": self.agreement,
        }


@dataclass(frozen=True)
class PrecisionLoss:
    """What a precision costs against float32, paired on the same sequences; `drop` is float32's accuracy minus its."""

    name: str
    drop: float
    drop_stderr: float
    agreement: float

    @classmethod
    def of(cls, name: str, this: Measured, exact: Measured) -> PrecisionLoss:
        """From the same model's answers in this precision and in float32."""
        pair = Comparison.of("", this, exact)
        return cls(name, pair.drop, pair.drop_stderr, pair.agreement)

    def as_json(self) -> Json:
        """The `precision` object of last.eval/1."""
        return asdict(self)


@dataclass(frozen=True)
class EvalReport:
    """What `last eval` shows. `task` has name, version, split, source, length and, where cut short, `of`."""

    checkpoint: Source
    task: Mapping[str, Any]
    measured: Measured
    assumed: Mapping[str, Any]
    baseline: Comparison | None = None
    gates: Sequence[Gate] = ()
    notes: Sequence[str] = ()
    precision: PrecisionLoss | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(gate.passed for gate in self.gates)

    @property
    def stderr(self) -> float:
        """Standard error of the accuracy, sqrt(p (1 - p) / n)."""
        p = self.measured.accuracy
        return float(np.sqrt(p * (1 - p) / len(self.measured.correct)))

    def as_json(self) -> Json:
        """last.eval/1."""
        report = head("last.eval/1", self.checkpoint) | {
            "task": dict(self.task),
            "accuracy": self.measured.accuracy,
            "stderr": self.stderr,
            "loss": float(self.measured.losses.mean()),
            "n": len(self.measured.correct),
            "seconds": self.measured.seconds,
            "sequences_per_second": self.measured.speed,
            "resumed": self.measured.resumed,
            "device": self.measured.device,
            "precision": self.precision.as_json() if self.precision else {"name": "float32"},
            "assumed": dict(self.assumed),
        }
        if self.baseline is not None:
            report["baseline"] = self.baseline.as_json()
        return report | {"gates": [gate.as_json() for gate in self.gates], "warnings": list(self.notes)}
