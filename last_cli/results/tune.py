"""What `last tune` did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Change, Record, Result
from last_cli.results.source import Source


@dataclass(frozen=True, repr=False)
class TunePoint(Record):
    """What the held-out sequences said after so many steps.

    Attributes:
        step: after how many.
        error: Kullback-Leibler divergence of the answers from the teacher's, in nats a sequence.
        agreement: share of the sequences with the teacher's answer.
    """

    step: int
    error: float
    agreement: float


@dataclass(frozen=True, repr=False)
class TuneReport(Result):
    """What `last tune` shows.

    Attributes:
        checkpoint: what was tuned.
        output: where it was written; null where it was not.
        teacher: whose answers it was tuned towards.
        inputs: where the sequences come from, and how they were chosen.
        sequences: how many there are, with those that are held out.
        held_out: how many of them no step reads.
        steps: that were made.
        planned_steps: that were to be made at most.
        resumed_steps: that an interrupted run had made.
        best_step: after which the held-out error was smallest: that is what is written; 0 for what was there before.
        points: the held-out sequences along the way, from step 0 on.
        leaves: names of what was trained in each layer.
        moments_cleared: how many moments of the optimizer are zero now.
        seconds: without those of the interrupted run.
        assumed: what was assumed of the layers.
        warnings: what may make the answers otherwise.
    """

    command = "tune"
    headline = ("checkpoint", "teacher", "steps", "best_step")
    json_keys = (
        "checkpoint", "output", "teacher", "inputs", "sequences", "held_out", "steps", "planned_steps", "resumed_steps",
        "best_step", "error", "agreement", "points", "leaves", "moments_cleared", "seconds", "assumed", "warnings",
    )  # fmt: skip

    checkpoint: Source
    teacher: Source
    inputs: Mapping[str, Any]
    sequences: int
    held_out: int
    steps: int
    planned_steps: int
    resumed_steps: int
    best_step: int
    points: Sequence[TunePoint]
    leaves: Sequence[str]
    moments_cleared: int
    seconds: float
    assumed: Mapping[str, Any]
    warnings: Sequence[str] = ()
    output: str | None = None

    @property
    def best(self) -> TunePoint:
        """What the held-out sequences say of the result."""
        return next(point for point in self.points if point.step == self.best_step)

    @property
    def error(self) -> Change:
        """Divergence from the teacher's answers on the held-out sequences, in nats a sequence."""
        return Change(self.points[0].error, self.best.error)

    @property
    def agreement(self) -> Change:
        """Share of the held-out sequences with the teacher's answer."""
        return Change(self.points[0].agreement, self.best.agreement)
