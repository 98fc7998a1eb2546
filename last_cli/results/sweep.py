"""What a sweep measured, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from last_cli.base.version import __version__
from last_cli.results.source import Source


@dataclass(frozen=True)
class SweepPoint:
    """One pruned version, measured; accuracy, its drop and their standard errors are fractions.

    Attributes:
        criterion: its recipe: a criterion, `reconstruct`, or NAME+refit.
        states: live states that stay.
        stderr: standard error of the accuracy.
        loss: mean loss in nats.
        drop, drop_stderr: accuracy lost against the unpruned model on the same sequences, and its standard error.
    """

    criterion: str
    ratio: float
    seed: int
    states: int
    accuracy: float
    stderr: float
    loss: float
    drop: float
    drop_stderr: float

    @property
    def key(self) -> tuple[str, float, int]:
        """What tells it from the others of its sweep."""
        return self.criterion, self.ratio, self.seed


@dataclass(frozen=True)
class SweepMean:
    """One criterion at one ratio, over its seeds.

    Attributes:
        drop_stderr: standard error of the mean drop. The seeds share their sequences, so that averaging does not lower
            that part of the error: it is sqrt(mean of the seeds' squared errors + variance between seeds / seeds).
        pareto: no other mean has at least the accuracy with fewer states, or more with as many.
    """

    criterion: str
    ratio: float
    seeds: int
    states: float
    accuracy: float
    drop: float
    drop_stderr: float
    pareto: bool = False


@dataclass(frozen=True)
class SweepReport:
    """What `last sweep` shows.

    Attributes:
        task: name, version, split, source, length, n, with a limit `limit`.
        baseline: the unpruned model: accuracy, stderr, loss, states, n.
        points: by criterion, seed and ratio, in the order that was asked for.
        means: over the seeds, with the Pareto front marked; see pruning.means.
        settings: calibration, scope, shape and all else that the points depend on.
        warnings: what was guessed, and other reasons to doubt the result.
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

    @property
    def criteria(self) -> list[str]:
        """The recipes in their order."""
        return list(dict.fromkeys(point.criterion for point in self.points))

    @property
    def ratios(self) -> list[float]:
        """The ratios, rising."""
        return sorted({point.ratio for point in self.points})

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
            "points": [asdict(point) for point in self.points],
            "means": [asdict(mean) for mean in self.means],
            "warnings": [*self.warnings, *self.notes],
        }
