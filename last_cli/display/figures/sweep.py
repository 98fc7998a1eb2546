"""The figure of a sweep: accuracy or perplexity against the share of states removed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import last_cli.display.escape as escape
from last_cli.display.figures.figure import COLOURS, GREY, MARKERS, explain, figure, named
from last_cli.results.sweep import SweepMean, SweepReport
from last_cli.tasks.task import ACCURACY

SIZE = (6.2, 3.5)
FEW = len(COLOURS)
"""More recipes than there are colours have broken lines too."""
FRONT = "Pareto-optimal"
RING: dict[str, Any] = {"s": 62, "facecolors": "none", "edgecolors": "0.15", "linewidths": 0.8}
CHANCE = "random"
"""The recipe that any other has to beat, drawn in grey; no other is."""

SPREAD, APART = 0.45, 1.7
"""Side by side, the recipes take this share of the room between two ratios, each at most so many percent."""

BARS = "bars: ± 1 standard error of the paired difference to the unpruned model"


def draw_sweep(report: SweepReport, out: Path | io.BytesIO) -> None:
    """Write the figure; error bars are the paired standard errors of the difference to the unpruned model.

    Raises:
        OutputError: the file cannot be written.
    """
    with figure(out, SIZE) as (made, axes):
        means, base = report.means, report.baseline.value
        as_share = report.metric == ACCURACY
        scale = 100 if as_share else 1.0
        axes.axhline(scale * base, color="0.55", lw=0.9, ls=(0, (5, 3)), zorder=1, label="unpruned")
        aside = _aside(report.ratios, len(report.criteria))
        for i, (name, (colour, marker, dashes)) in enumerate(_marks(report.criteria).items()):
            line = sorted((mean for mean in means if mean.criterion == name), key=lambda mean: mean.ratio)
            front = [mean for mean in line if mean.pareto]
            axes.errorbar(
                *_xy(report, line, scale, aside[i]),
                yerr=[(100 if as_share else base) * mean.worse_stderr for mean in line],
                color=colour,
                marker=marker,
                markersize=4.5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                lw=1.3,
                ls=dashes,
                elinewidth=0.9,
                capsize=2,
                label=f"{name} ({line[0].seeds} seeds)" if line[0].seeds > 1 else name,
                zorder=2 if name == CHANCE else 3,
            )
            axes.scatter(*_xy(report, front, scale, aside[i]), **RING, zorder=4)
        axes.scatter([], [], **RING, label=FRONT)
        axes.set(
            xlabel=f"{report.targets[0]} removed (%)" if len(report.targets) == 1 else "removed (%)",
            ylabel=f"{report.metric}{' (%)' if as_share else ''}",
            title=_title(report),
        )
        axes.grid(axis="y", color="0.92", lw=0.6)
        made.legend(*_legend(axes), loc="outside right center", frameon=False)
        explain(made, BARS + (", seeds included" if any(mean.seeds > 1 for mean in means) else ""))


def _title(report: SweepReport) -> str:
    task, n = report.task, report.baseline.n
    return f"{named(report.checkpoint)}\n{escape.label(task['name'])}, {task['split']} split, n = {n:,}"


def _marks(names: Sequence[str]) -> dict[str, tuple[str, str, Any]]:
    """A colour, a marker and dashes for each recipe."""
    others = [name for name in names if name != CHANCE]
    marks = {name: (COLOURS[i % FEW], MARKERS[i % FEW], _dashes(i // FEW)) for i, name in enumerate(others)}
    return {name: marks.get(name, (GREY, "v", "solid")) for name in names}


def _dashes(turn: int) -> Any:
    return "solid" if turn == 0 else (0, (5 / turn, 1.5))


def _aside(ratios: Sequence[float], count: int) -> list[float]:
    """How far each recipe's points stand aside of their place, in percent, so that their bars do not overlap."""
    gaps = [100 * (b - a) for a, b in pairwise(ratios)]
    step = min(SPREAD * min(gaps, default=10.0) / max(count, 1), APART)
    return [(i - (count - 1) / 2) * step for i in range(count)]


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """The recipes first; the ring and the line explain them, so they are last."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] in (FRONT, "unpruned"))
    return [handles[i] for i in order], [labels[i] for i in order]


def _xy(report: SweepReport, means: Sequence[SweepMean], scale: float, aside: float) -> tuple[list[float], list[float]]:
    """Places of a recipe's points; where nothing is removed all recipes are one point, without a bar."""
    shares = [100 * report.removed(mean) for mean in means]
    return [share + (aside if share else 0.0) for share in shares], [scale * mean.value for mean in means]
