"""The figure of a comparison: what judges the task, for several checkpoints and their seeds."""

from __future__ import annotations

import io
from pathlib import Path

import last_cli.display.escape as escape
from last_cli.display.figures.figure import COLOURS, explain, figure, named
from last_cli.display.words import base_name
from last_cli.results.compare import CompareReport
from last_cli.tasks.task import ACCURACY


def draw_compare(report: CompareReport, out: Path | io.BytesIO) -> None:
    """Write the figure: a mean per model with its standard error, and its seeds as small points.

    Raises:
        OutputError: the file cannot be written.
    """
    means, scale = report.means, 100 if report.metric == ACCURACY else 1.0
    with figure(out, (4.8, 1.6 + 0.34 * len(means))) as (made, axes):
        axes.axvline(scale * means[0].value, color="0.7", lw=0.8, ls=(0, (5, 3)), zorder=1)
        for i, mean in enumerate(means):
            colour = COLOURS[i % len(COLOURS)]
            seeds = [scale * point.value for point in report.points if point.name == mean.name]
            if len(seeds) > 1:
                axes.scatter(seeds, [i + 0.2] * len(seeds), s=9, color=colour, alpha=0.5, linewidths=0, zorder=2)
            bar = {"fmt": "o", "markersize": 4.5, "capsize": 2.5, "elinewidth": 1.1, "zorder": 3}
            axes.errorbar(scale * mean.value, i, xerr=scale * mean.stderr, color=colour, **bar)
        names = [base_name(mean.name) + (f" ({mean.seeds} seeds)" if mean.seeds > 1 else "") for mean in means]
        axes.set(yticks=range(len(means)), yticklabels=[escape.label(name) for name in names])
        axes.set_ylim(len(means) - 0.4, -0.6)
        task = f"{escape.label(report.task['name'])}, {report.task['split']} split, n = {report.n:,}"
        axes.set(xlabel=f"{report.metric}{' (%)' if report.metric == ACCURACY else ''}")
        axes.set_title(f"{task}\nfirst: {named(report.checkpoint)}")
        axes.grid(axis="x", color="0.92", lw=0.6)
        small = "; small points: seeds" if any(mean.seeds > 1 for mean in means) else ""
        explain(made, f"bars: ± 1 standard error{small}; dashed: the first model")
