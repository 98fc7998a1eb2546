"""Means of a sweep's points over their seeds, with the Pareto front of fewer states and better answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from last_cli.results.sweep import SweepMean, SweepPoint


def means_of(points: Sequence[SweepPoint], *, higher_is_better: bool = True) -> list[SweepMean]:
    """One mean for each criterion and ratio, in the order of the points, the Pareto front marked."""
    sign = 1 if higher_is_better else -1
    groups: dict[tuple[str, float], list[SweepPoint]] = {}
    for point in points:
        groups.setdefault((point.criterion, point.ratio), []).append(point)
    means = [_mean(group) for group in groups.values()]
    return [replace(mean, pareto=not any(_beats(other, mean, sign) for other in means)) for mean in means]


def _mean(points: Sequence[SweepPoint]) -> SweepMean:
    def mean(name: str) -> float:
        return float(np.mean([getattr(point, name) for point in points]))

    drops = [point.worse for point in points]
    between = float(np.var(drops, ddof=1)) / len(drops) if len(drops) > 1 else 0.0
    within = float(np.mean([point.worse_stderr**2 for point in points]))
    return SweepMean(
        criterion=points[0].criterion,
        ratio=points[0].ratio,
        seeds=len(points),
        states=mean("states"),
        value=mean("value"),
        worse=mean("worse"),
        worse_stderr=float(np.sqrt(within + between)),
        target=points[0].target,
        metric=points[0].metric,
    )


def _beats(one: SweepMean, other: SweepMean, sign: int) -> bool:
    """Whether `one` is as good in both, and better in one of them; units of other targets do not compare."""
    if one.target != other.target:
        return False
    better = sign * (one.value - other.value)
    return one.states <= other.states and better >= 0 and (one.states < other.states or better > 0)
