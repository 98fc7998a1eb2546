"""What `last compare` finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Record, Result
from last_cli.results.source import Source


@dataclass(frozen=True, repr=False)
class Compared(Record):
    """One checkpoint, measured.

    Attributes:
        name: what it is called; seeds of one model share it.
        path: where it lies.
        digest: SHA-256 of its SSM parameters.
        states: live units of the usual kind, in all layers.
        parameters: numbers in the model's parameters.
        value, stderr: of the metric that judges the task, and its standard error.
        loss: mean loss in nats.
        difference, difference_stderr: to the first checkpoint, paired on the same sequences: of accuracy the
            difference of the fractions, of perplexity the increase as a fraction.
    """

    name: str
    path: str
    digest: str
    states: int
    parameters: int
    value: float
    stderr: float
    loss: float
    difference: float
    difference_stderr: float


@dataclass(frozen=True, repr=False)
class ComparedMean(Record):
    """One model, over its seeds; see Compared.

    Attributes:
        name: of the model.
        seeds: how many.
        stderr, difference_stderr: of the mean. The seeds share their sequences, so that averaging does not lower that
            part: it is sqrt(mean of the seeds' squared errors + variance between seeds / seeds).
    """

    name: str
    seeds: int
    states: float
    parameters: float
    value: float
    stderr: float
    difference: float
    difference_stderr: float


@dataclass(frozen=True, repr=False)
class CompareReport(Result):
    """What `last compare` shows.

    Attributes:
        checkpoint: the first one, with which the others are compared.
        task: name, version, split, source, length.
        metric: what judges the task: accuracy or perplexity.
        n: answers that each is asked for.
        device: what it ran on.
        notes: what the sequences are.
        points, means: each checkpoint, and each model over its seeds, in the order that was asked for.
        doubts: what was guessed, and other reasons to doubt the result.
    """

    command = "compare"
    headline = ("checkpoint", "task", "metric", "n")
    json_keys = ("checkpoint", "task", "metric", "n", "device", "points", "means", "warnings")

    checkpoint: Source
    task: Mapping[str, Any]
    metric: str
    n: int
    device: str
    points: Sequence[Compared]
    means: Sequence[ComparedMean]
    notes: Sequence[str] = ()
    doubts: Sequence[str] = ()

    @property
    def warnings(self) -> list[str]:
        """Doubts and notes."""
        return [*self.doubts, *self.notes]
