"""What the search for a ratio measured, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from last_cli.base.errors import AnswerIsNo

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

    @property
    def lines(self) -> list[str]:
        """What was chosen and why, for people."""
        best = next(p for p in self.points if p.ratio == self.chosen)
        on = ", ".join(f"{name} {value}" for name, value in self.measured_on.items())
        rule = "value + standard error within the budget" if self.strict else "value within the budget"
        lines = [
            f"ratio {self.chosen:g}: {self.said(best)}, budget {self.budget:g}, measured on {on}",
            f"the largest of {len(self.points)} measured ratios ({rule}; resolution {self.resolution:g}): "
            + ", ".join(f"{p.ratio:g} {self._number(p)}{'' if p.within else ' ✗'}" for p in self.by_ratio),
        ]
        if self.kind == "max_drop":
            lines.append("chosen on these very sequences, it may cost more on others: judge it on the test split")
        return lines

    def said(self, point: SearchPoint) -> str:
        """A point in words, for example "drop 0.45 ± 0.20 points"."""
        if self.kind == "max_drop":
            return f"drop {100 * point.value:.2f} ± {100 * point.stderr:.2f} points"
        return f"relative squared error of the logits {point.value:.3g} ± {point.stderr:.1g}"

    def _number(self, point: SearchPoint) -> str:
        return f"{100 * point.value:+.2f}" if self.kind == "max_drop" else f"{point.value:.2g}"

    def refuse(self) -> AnswerIsNo:
        """The error that says that no measured ratio stays within the budget."""
        least = self.by_ratio[0]
        unit = " points" if self.kind == "max_drop" else ""
        return AnswerIsNo(
            f"no ratio stays within the budget of {self.budget:g}{unit}: at ratio {least.ratio:g}, the smallest one, "
            f"{self.said(least)}; nothing was written",
            "a larger budget, or ⟦method reconstruct⟧ where it was not used, may allow one",
        )
