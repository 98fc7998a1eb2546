"""The figure of a sweep: accuracy or perplexity against the share of states removed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import last_cli.display.escape as escape
from last_cli.display.figures.figure import COLOUR, figure
from last_cli.results.sweep import SweepMean, SweepReport
from last_cli.tasks.task import ACCURACY

# Okabe and Ito's palette, which colour-blind readers can tell apart; markers tell the lines apart in print.
COLOURS = (COLOUR, "#D55E00", "#009E73", "#7F7F7F", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "v", "^", "P", "X", "<")
SIZE = (4.8, 3.4)
FRONT = "Pareto-optimal"


def draw_sweep(report: SweepReport, path: Path) -> None:
    """Write the figure; error bars are the paired standard errors of the difference to the unpruned model.

    Raises:
        OutputError: the file cannot be written.
    """
    with figure(path, SIZE) as (_, axes):
        means, base = report.means, report.baseline.value
        as_share = report.metric == ACCURACY
        scale = 100 if as_share else 1.0
        axes.axhline(scale * base, color="0.55", lw=0.9, ls=(0, (5, 3)), zorder=1)
        axes.annotate(
            "unpruned",
            (1, scale * base),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color="0.4",
            fontsize=7,
        )
        for i, name in enumerate(report.criteria):
            line = sorted((mean for mean in means if mean.criterion == name), key=lambda mean: mean.ratio)
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            axes.errorbar(
                *_xy(report, line, scale),
                yerr=[(100 if as_share else base) * mean.worse_stderr for mean in line],
                color=colour,
                marker=marker,
                markersize=4.5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                lw=1.3,
                elinewidth=0.9,
                capsize=2,
                label=f"{name} ({line[0].seeds} seeds)" if line[0].seeds > 1 else name,
                zorder=3,
            )
        front = [mean for mean in means if mean.pareto]
        ring = {"s": 62, "facecolors": "none", "edgecolors": "0.15", "linewidths": 0.8}
        axes.scatter(*_xy(report, front, scale), **ring, zorder=4, label=FRONT)
        place = f", {report.task['split']} (%)" if as_share else ""
        axes.set(
            xlabel=f"{report.targets[0]} removed (%)" if len(report.targets) == 1 else "removed (%)",
            ylabel=f"{report.metric} on {escape.label(report.task['name'])}{place}",
        )
        axes.grid(axis="y", color="0.92", lw=0.6)
        handles, labels = axes.get_legend_handles_labels()
        order = sorted(
            range(len(labels)), key=lambda i: labels[i] == FRONT
        )  # the ring explains the lines, so it is last
        where = "lower left" if as_share else "upper left"
        axes.legend([handles[i] for i in order], [labels[i] for i in order], loc=where, frameon=False)


def _xy(report: SweepReport, means: Sequence[SweepMean], scale: float) -> tuple[list[float], list[float]]:
    return [100 * report.removed(mean) for mean in means], [scale * mean.value for mean in means]
