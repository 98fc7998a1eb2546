"""Means of a sweep's points over their seeds."""

from __future__ import annotations

import numpy as np
import pytest

from last_cli.pruning.means import means_of
from last_cli.results.sweep import SweepPoint


def test_means_and_their_errors_and_the_pareto_front() -> None:
    def point(criterion: str, seed: int, states: int, accuracy: float) -> SweepPoint:
        return SweepPoint(criterion, 1 - states / 10, seed, states, accuracy, 0.01, 1.0, 0.8 - accuracy, 0.03)

    points = [point("a", 0, 5, 0.7), point("b", 0, 5, 0.6), point("b", 1, 5, 0.64), point("a", 0, 2, 0.5)]
    points += [point("b", s, 2, 0.5) for s in (0, 1)]
    means = {(m.criterion, m.states): m for m in means_of(points)}
    assert means["b", 5].drop == pytest.approx(0.18)
    assert means["b", 5].drop_stderr == pytest.approx(np.sqrt(0.03**2 + np.var([0.2, 0.16], ddof=1) / 2))
    assert means["a", 5].drop_stderr == pytest.approx(0.03)
    assert {key: m.pareto for key, m in means.items()} == {
        ("a", 5): True,
        ("b", 5): False,
        ("a", 2): True,
        ("b", 2): True,
    }
