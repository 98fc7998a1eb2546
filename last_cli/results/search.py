"""What the search for a ratio measured, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Limited = Literal["max_drop", "max_error"]
"""What a budget limits."""


@dataclass(frozen=True)
class SearchPoint:
    """One measured ratio.

    Attributes:
        value: accuracy lost (a fraction), or the relative squared error of the logits.
        stderr: its standard error over the sequences; paired, for the accuracy.
        within: whether it stays within the budget.
    """

    ratio: float
    value: float
    stderr: float
    within: bool


@dataclass(frozen=True)
class Search:
    """How a ratio was chosen.

    Attributes:
        kind: what the budget limits.
        budget: percentage points of accuracy, or relative squared error.
        strict: whether one standard error counted against a ratio.
        measured_on: task, split and number of sequences, or where the unlabelled inputs come from.
        resolution: how far apart neighbouring ratios were at the end.
        points: every measured ratio, in the order of measuring.
        chosen: the largest measured one within the budget.
    """

    kind: Limited
    budget: float
    strict: bool
    measured_on: Mapping[str, Any]
    resolution: float
    points: Sequence[SearchPoint]
    chosen: float

    def as_json(self) -> dict[str, Any]:
        """The `search` object of last.prune/1 and of the stamp, its points by ratio."""
        name = self.kind.removeprefix("max_")
        return {
            "kind": self.kind,
            "budget": self.budget,
            "strict": self.strict,
            **self.measured_on,
            "resolution": self.resolution,
            "points": [
                {"ratio": p.ratio, name: p.value, "stderr": p.stderr, "within": p.within} for p in self.by_ratio
            ],
            "chosen": self.chosen,
        }

    @property
    def by_ratio(self) -> list[SearchPoint]:
        """The points in the order of their ratios."""
        return sorted(self.points, key=lambda p: p.ratio)
