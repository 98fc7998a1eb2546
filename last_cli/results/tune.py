"""What `last tune` did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.results.source import Json, Source, head


@dataclass(frozen=True)
class TunePoint:
    """What the held-out sequences said after so many steps.

    Attributes:
        error: Kullback-Leibler divergence of the answers from the teacher's, in nats a sequence.
        agreement: share of the sequences with the teacher's answer.
    """

    step: int
    error: float
    agreement: float


@dataclass(frozen=True)
class TuneReport:
    """What `last tune` shows.

    Attributes:
        checkpoint: what was tuned.
        teacher: whose logits it was tuned towards.
        inputs: where the sequences come from, and how they were chosen.
        sequences: how many there are, with those that are held out.
        held_out: how many of them no step reads.
        steps: that were made; `planned` were at most to be.
        best_step: after which the held-out error was smallest: that is what is written, 0 for what was there before.
        points: the held-out sequences along the way, from step 0 on.
        resumed: steps that an interrupted run had made.
        leaves: names of what was trained in each layer.
        cleared: moments of the optimizer that are zero now.
        seconds: without those of the interrupted run.
        assumed: what was assumed of the layers.
    """

    checkpoint: Source
    teacher: Source
    inputs: Mapping[str, Any]
    sequences: int
    held_out: int
    steps: int
    planned: int
    best_step: int
    points: Sequence[TunePoint]
    resumed: int
    leaves: Sequence[str]
    cleared: int
    seconds: float
    assumed: Mapping[str, Any]
    warnings: Sequence[str] = ()

    @property
    def before(self) -> TunePoint:
        """What the held-out sequences said of what was tuned."""
        return self.points[0]

    @property
    def after(self) -> TunePoint:
        """What they say of the result."""
        return next(point for point in self.points if point.step == self.best_step)

    def as_json(self, output: str | None) -> Json:
        """last.tune/1; `output` is null where nothing is written."""
        return head("last.tune/1", self.checkpoint) | {"output": output} | self.said()

    def said(self) -> Json:
        """All but what is tuned, and where it goes: the `tuned` object of last.prune/1."""
        return {
            "teacher": self.teacher.as_json(),
            "inputs": dict(self.inputs),
            "sequences": self.sequences,
            "held_out": self.held_out,
            "steps": self.steps,
            "planned_steps": self.planned,
            "resumed_steps": self.resumed,
            "best_step": self.best_step,
            "error": {"before": self.before.error, "after": self.after.error},
            "agreement": {"before": self.before.agreement, "after": self.after.agreement},
            "points": [vars(point) for point in self.points],
            "leaves": list(self.leaves),
            "moments_cleared": self.cleared,
            "seconds": self.seconds,
            "assumed": dict(self.assumed),
            "warnings": list(self.warnings),
        }
