"""What a sweep measured, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Record, Result
from last_cli.results.source import Source
from last_cli.tasks.task import ACCURACY, PERPLEXITY

KEYS = {ACCURACY: "drop", PERPLEXITY: "increase"}
"""What JSON calls the loss against the unpruned model, by the metric."""


class Judged(Record):
    """What was measured of a pruned model and what it lost, by the names of its metric.

    Attributes:
        value: of the metric that judges the task.
        worse: accuracy lost against the unpruned model on the same sequences, or the increase of the perplexity, as
            fractions.
        worse_stderr: its standard error.
        metric: what judges the task.
    """

    json_optional = ("accuracy", "perplexity", "drop", "drop_stderr", "increase", "increase_stderr")

    value: float
    worse: float
    worse_stderr: float
    metric: str

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; absent of language models."""
        return self.value if self.metric == ACCURACY else None

    @property
    def drop(self) -> float | None:
        """Accuracy lost against the unpruned model on the same sequences, a fraction; absent of language models."""
        return self.worse if self.metric == ACCURACY else None

    @property
    def drop_stderr(self) -> float | None:
        """Standard error of the drop."""
        return self.worse_stderr if self.metric == ACCURACY else None

    @property
    def perplexity(self) -> float | None:
        """By token; of language models alone."""
        return self.value if self.metric == PERPLEXITY else None

    @property
    def increase(self) -> float | None:
        """Of the perplexity over the unpruned model's, a fraction; of language models alone."""
        return self.worse if self.metric == PERPLEXITY else None

    @property
    def increase_stderr(self) -> float | None:
        """Standard error of the increase."""
        return self.worse_stderr if self.metric == PERPLEXITY else None


@dataclass(frozen=True, repr=False)
class SweepPoint(Judged):
    """One pruned version, measured.

    Attributes:
        criterion: its recipe: a criterion, `reconstruct`, or NAME+refit.
        ratio: share of the units that was to go.
        seed: of what is random.
        states: live states that stay.
        value: of the metric that judges the task.
        stderr: its standard error.
        loss: mean loss in nats.
        worse, worse_stderr: see Judged.
        target: what goes; of several in a sweep the recipe's name has it too.
        metric: what judges the task.
    """

    json_keys = (
        "criterion", "target", "ratio", "seed", "states", "accuracy", "perplexity", "stderr", "loss", "drop",
        "drop_stderr", "increase", "increase_stderr",
    )  # fmt: skip

    criterion: str
    ratio: float
    seed: int
    states: int
    value: float
    stderr: float
    loss: float
    worse: float
    worse_stderr: float
    target: str = "states"
    metric: str = ACCURACY

    @property
    def key(self) -> tuple[str, float, int]:
        """What tells it from the others of its sweep."""
        return self.criterion, self.ratio, self.seed

    @classmethod
    def restored(cls, record: Mapping[str, Any], metric: str) -> SweepPoint:
        """The point of such a line; raises TypeError where it is none."""
        names = {metric: "value", KEYS[metric]: "worse", f"{KEYS[metric]}_stderr": "worse_stderr"}
        return cls(**{names.get(name, name): value for name, value in record.items()}, metric=metric)


@dataclass(frozen=True, repr=False)
class SweepMean(Judged):
    """One criterion at one ratio, over its seeds.

    Attributes:
        criterion: the recipe; see SweepPoint.
        ratio: share of the units that was to go.
        seeds: how many.
        states: live states that stay, the mean.
        target: what goes.
        value: see SweepPoint, and so `worse`.
        worse_stderr: standard error of the mean. The seeds share their sequences, so that averaging does not lower
            that part of the error: it is sqrt(mean of the seeds' squared errors + variance between seeds / seeds).
        pareto: no other mean of its target is at least as good with fewer states, or better with as many.
    """

    json_keys = (
        "criterion", "target", "ratio", "seeds", "states", "accuracy", "perplexity", "drop", "drop_stderr", "increase",
        "increase_stderr", "pareto",
    )  # fmt: skip

    criterion: str
    ratio: float
    seeds: int
    states: float
    value: float
    worse: float
    worse_stderr: float
    target: str = "states"
    pareto: bool = False
    metric: str = ACCURACY


@dataclass(frozen=True, repr=False)
class Unpruned(Judged):
    """The unpruned model that a sweep compares with.

    Attributes:
        value: of the metric that judges the task.
        stderr: its standard error.
        loss: mean loss in nats.
        states: live states.
        n: sequences, or tokens.
        device: what it ran on.
        metric: what judges the task.
        units: live units by target, where several are compared; then `states` are those of the first.
    """

    json_keys = ("accuracy", "perplexity", "stderr", "loss", "states", "n", "device", "units")
    json_optional = ("accuracy", "perplexity", "units")

    value: float
    stderr: float
    loss: float
    states: int
    n: int
    device: str
    metric: str = ACCURACY
    units: Mapping[str, int] | None = None


@dataclass(frozen=True, repr=False)
class SweepReport(Result):
    """What `last sweep` shows.

    Attributes:
        checkpoint: what was pruned.
        family: the kind of its SSM layers.
        task: name, version, split, source, length, n, with a limit `limit`.
        baseline: the unpruned model.
        points: by criterion, seed and ratio, in the order that was asked for.
        means: of the points over the seeds, with the Pareto front marked.
        settings: calibration, scope, shape and all else that the points depend on.
        assumed: what nothing but our assumption decides.
        notes: what was chosen.
        doubts: what was guessed, and other reasons to doubt the result.
        metric: what judges the task.
    """

    command = "sweep"
    headline = ("checkpoint", "task", "criteria", "ratios")
    json_keys = (
        "checkpoint", "family", "task", "settings", "assumed", "baseline", "points", "means", "warnings",
    )  # fmt: skip

    checkpoint: Source
    family: str
    task: Mapping[str, Any]
    baseline: Unpruned
    points: Sequence[SweepPoint]
    means: Sequence[SweepMean]
    settings: Mapping[str, Any]
    assumed: Mapping[str, Any]
    notes: Sequence[str] = ()
    doubts: Sequence[str] = ()
    metric: str = ACCURACY

    @property
    def criteria(self) -> list[str]:
        """The recipes in their order."""
        return list(dict.fromkeys(point.criterion for point in self.points))

    @property
    def ratios(self) -> list[float]:
        """The ratios, rising."""
        return sorted({point.ratio for point in self.points})

    @property
    def targets(self) -> list[str]:
        """What goes, in the order of the recipes."""
        return list(dict.fromkeys(point.target for point in self.points))

    def removed(self, mean: SweepMean) -> float:
        """The share of its target's units that is gone."""
        return 1 - mean.states / (self.baseline.units or {}).get(mean.target, self.baseline.states)

    @property
    def warnings(self) -> list[str]:
        """Doubts and notes."""
        return [*self.doubts, *self.notes]
