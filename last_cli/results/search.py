"""What the search for a ratio measured, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from last_cli.base.record import Record

Limited = Literal["max_drop", "max_increase", "max_error"]
"""What a budget limits."""

Rule = Literal["upper limit", "estimate", "estimate + standard error"]
"""What of a measured loss must fit into the budget."""


@dataclass(frozen=True, repr=False)
class SearchPoint(Record):
    """One measured ratio.

    Attributes:
        ratio: which one.
        value: accuracy lost (a fraction), the share by which the perplexity grew, or the relative squared error of the
            logits.
        stderr: its standard error over the sequences; paired, but for the logits.
        upper: what the first two are at most, with a confidence of 95 %.
        within: whether it stays within the budget.
        kind: what the budget limits.
    """

    json_keys = ("ratio", "drop", "increase", "error", "stderr", "upper", "within")
    json_optional = ("drop", "increase", "error", "upper")

    ratio: float
    value: float
    stderr: float
    upper: float | None
    within: bool
    kind: Limited = "max_drop"

    @property
    def drop(self) -> float | None:
        """Accuracy lost, a fraction."""
        return self.value if self.kind == "max_drop" else None

    @property
    def increase(self) -> float | None:
        """Share by which the perplexity grew."""
        return self.value if self.kind == "max_increase" else None

    @property
    def error(self) -> float | None:
        """Relative squared error of the logits."""
        return self.value if self.kind == "max_error" else None


@dataclass(frozen=True, repr=False)
class Search(Record):
    """How a ratio was chosen.

    Attributes:
        kind: what the budget limits.
        budget: percentage points of accuracy, a share of the perplexity, or relative squared error.
        rule: what of a loss must fit.
        measured_on: task, split and number of sequences, or where the unlabelled inputs come from.
        resolution: how far apart neighbouring ratios were at the end.
        measured: every measured ratio, in the order of measuring.
        chosen: the largest measured one within the budget.
    """

    json_keys = ("kind", "budget", "rule", "strict", "resolution", "points", "chosen")
    json_open = ("measured_on",)

    kind: Limited
    budget: float
    rule: Rule
    measured_on: Mapping[str, Any]
    resolution: float
    measured: Sequence[SearchPoint]
    chosen: float

    @property
    def strict(self) -> bool:
        """Whether more than the estimate must fit."""
        return self.rule != "estimate"

    @property
    def points(self) -> list[SearchPoint]:
        """Every measured ratio, in the order of the ratios."""
        return sorted(self.measured, key=lambda p: p.ratio)
