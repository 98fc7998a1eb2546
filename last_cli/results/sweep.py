"""What a sweep measured, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from last_cli.base.version import __version__
from last_cli.results.source import Json, Source
from last_cli.tasks.task import ACCURACY, PERPLEXITY

KEYS = {ACCURACY: "drop", PERPLEXITY: "increase"}
"""What JSON calls the loss against the unpruned model, by the metric."""


@dataclass(frozen=True)
class SweepPoint:
    """One pruned version, measured.

    Attributes:
        criterion: its recipe: a criterion, `reconstruct`, or NAME+refit.
        states: live states that stay.
        value, stderr: of the metric that judges the task, and its standard error.
        loss: mean loss in nats.
        worse, worse_stderr: accuracy lost against the unpruned model on the same sequences, or the increase of the
            perplexity, as fractions, and its standard error.
        target: what goes; of several in a sweep the recipe's name has it too.
    """

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

    @property
    def key(self) -> tuple[str, float, int]:
        """What tells it from the others of its sweep."""
        return self.criterion, self.ratio, self.seed

    @property
    def accuracy(self) -> float:
        """The value of a task that is judged by accuracy."""
        return self.value

    @property
    def drop(self) -> float:
        """What is lost of it."""
        return self.worse

    @property
    def drop_stderr(self) -> float:
        """Of the drop."""
        return self.worse_stderr

    def as_json(self, metric: str) -> Json:
        """One entry of `points` of last.sweep/1, and a line of a sweep's journal."""
        return _named(self, metric)

    @classmethod
    def restored(cls, record: Mapping[str, Any], metric: str) -> SweepPoint:
        """The point of such a line; raises TypeError where it is none."""
        names = {new: old for old, new in _names(metric).items()}
        return cls(**{names.get(name, name): value for name, value in record.items()})


@dataclass(frozen=True)
class SweepMean:
    """One criterion at one ratio, over its seeds.

    Attributes:
        value: see SweepPoint, and so `worse`.
        worse_stderr: standard error of the mean. The seeds share their sequences, so that averaging does not lower
            that part of the error: it is sqrt(mean of the seeds' squared errors + variance between seeds / seeds).
        pareto: no other mean of its target is at least as good with fewer states, or better with as many.
    """

    criterion: str
    ratio: float
    seeds: int
    states: float
    value: float
    worse: float
    worse_stderr: float
    target: str = "states"
    pareto: bool = False

    @property
    def accuracy(self) -> float:
        """The value of a task that is judged by accuracy."""
        return self.value

    @property
    def drop(self) -> float:
        """What is lost of it."""
        return self.worse

    @property
    def drop_stderr(self) -> float:
        """Of the drop."""
        return self.worse_stderr

    def as_json(self, metric: str) -> Json:
        """One entry of `means` of last.sweep/1."""
        return _named(self, metric)


def _names(metric: str) -> Json:
    return {"value": metric, "worse": KEYS[metric], "worse_stderr": f"{KEYS[metric]}_stderr"}


def _named(found: SweepPoint | SweepMean, metric: str) -> Json:
    names = _names(metric)
    return {names.get(name, name): value for name, value in asdict(found).items()}


@dataclass(frozen=True)
class SweepReport:
    """What `last sweep` shows.

    Attributes:
        task: name, version, split, source, length, n, with a limit `limit`.
        baseline: the unpruned model: accuracy or perplexity, stderr, loss, states, n; of several targets `units`.
        points: by criterion, seed and ratio, in the order that was asked for.
        means: over the seeds, with the Pareto front marked; see pruning.means.
        settings: calibration, scope, shape and all else that the points depend on.
        warnings: what was guessed, and other reasons to doubt the result.
        metric: what judges the task.
    """

    checkpoint: Source
    family: str
    task: Mapping[str, Any]
    baseline: Mapping[str, Any]
    points: Sequence[SweepPoint]
    means: Sequence[SweepMean]
    settings: Mapping[str, Any]
    assumed: Mapping[str, Any]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
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
        return 1 - mean.states / self.baseline.get("units", {}).get(mean.target, self.baseline["states"])

    def as_json(self) -> dict[str, Any]:
        """last.sweep/1."""
        return {
            "schema": "last.sweep/1",
            "last": __version__,
            "checkpoint": self.checkpoint.as_json(),
            "family": self.family,
            "task": dict(self.task),
            "settings": dict(self.settings),
            "assumed": dict(self.assumed),
            "baseline": dict(self.baseline),
            "points": [point.as_json(self.metric) for point in self.points],
            "means": [mean.as_json(self.metric) for mean in self.means],
            "warnings": [*self.warnings, *self.notes],
        }
