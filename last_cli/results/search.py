"""What the search for a ratio measured, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from last_cli.results.source import Json

Limited = Literal["max_drop", "max_increase", "max_error"]
"""What a budget limits."""

Rule = Literal["upper limit", "estimate", "estimate + standard error"]
"""What of a measured loss must fit into the budget."""


@dataclass(frozen=True)
class SearchPoint:
    """One measured ratio.

    Attributes:
        value: accuracy lost (a fraction), the share by which the perplexity grew, or the relative squared error of the
            logits.
        stderr: its standard error over the sequences; paired, but for the logits.
        upper: what the first two are at most, with a confidence of 95 %; see evaluation.metrics.
        within: whether it stays within the budget.
    """

    ratio: float
    value: float
    stderr: float
    upper: float | None
    within: bool

    def as_json(self, name: str) -> Json:
        """One of the points, its value called by a name."""
        upper = {} if self.upper is None else {"upper": self.upper}
        return {"ratio": self.ratio, name: self.value, "stderr": self.stderr, **upper, "within": self.within}


@dataclass(frozen=True)
class Search:
    """How a ratio was chosen.

    Attributes:
        kind: what the budget limits.
        budget: percentage points of accuracy, a share of the perplexity, or relative squared error.
        rule: what of a loss must fit.
        measured_on: task, split and number of sequences, or where the unlabelled inputs come from.
        resolution: how far apart neighbouring ratios were at the end.
        points: every measured ratio, in the order of measuring.
        chosen: the largest measured one within the budget.
    """

    kind: Limited
    budget: float
    rule: Rule
    measured_on: Mapping[str, Any]
    resolution: float
    points: Sequence[SearchPoint]
    chosen: float

    def as_json(self) -> Json:
        """The `search` object of last.prune/1 and of the stamp, its points by ratio."""
        name = self.kind.removeprefix("max_")
        return {
            "kind": self.kind,
            "budget": self.budget,
            "rule": self.rule,
            "strict": self.rule != "estimate",
            **self.measured_on,
            "resolution": self.resolution,
            "points": [point.as_json(name) for point in self.by_ratio],
            "chosen": self.chosen,
        }

    @property
    def by_ratio(self) -> list[SearchPoint]:
        """The points in the order of their ratios."""
        return sorted(self.points, key=lambda p: p.ratio)
