"""What `last compare` finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from last_cli.results.source import Json, Source, head


@dataclass(frozen=True)
class Compared:
    """One checkpoint, measured.

    Attributes:
        name: what it is called; seeds of one model share it.
        states: live units of the usual kind, in all layers.
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


@dataclass(frozen=True)
class ComparedMean:
    """One model, over its seeds; see Compared.

    Attributes:
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


@dataclass(frozen=True)
class CompareReport:
    """What `last compare` shows.

    Attributes:
        checkpoint: the first one, with which the others are compared.
        task: name, version, split, source, length.
        metric: what judges the task: accuracy or perplexity.
        n: answers that each is asked for.
        notes: what the sequences are.
        points, means: each checkpoint, and each model over its seeds, in the order that was asked for.
    """

    checkpoint: Source
    task: Mapping[str, Any]
    metric: str
    n: int
    device: str
    points: Sequence[Compared]
    means: Sequence[ComparedMean]
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()

    def as_json(self) -> Json:
        """last.compare/1."""
        return head("last.compare/1", self.checkpoint) | {
            "task": dict(self.task),
            "metric": self.metric,
            "n": self.n,
            "device": self.device,
            "points": [asdict(point) for point in self.points],
            "means": [asdict(mean) for mean in self.means],
            "warnings": [*self.warnings, *self.notes],
        }
