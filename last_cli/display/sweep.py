"""What `last sweep` and `last compare` show, and the files that a sweep leaves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from last_cli.base.errors import OutputError
from last_cli.base.unbroken import unbroken
from last_cli.display.figures.figure import available
from last_cli.display.forms import csv_text, json_text, text
from last_cli.display.sheet import Sheet
from last_cli.display.view import View
from last_cli.display.words import base_name, task_in_words
from last_cli.results.sweep import SweepMean, SweepReport
from last_cli.tasks.task import PERPLEXITY

FIGURES = ("sweep.svg", "sweep.png")


def sweep_view(report: SweepReport) -> View:
    """One row per ratio and one column per recipe; as CSV one row per point."""
    means = {(mean.criterion, mean.ratio): mean for mean in report.means}
    rows = [
        [f"{ratio:.4g}", *(_cell(means[name, ratio], report.metric) for name in report.criteria)]
        for ratio in report.ratios
    ]
    return View(
        title=f"last sweep {base_name(report.checkpoint.path)} on {report.task['name']}",
        data=report.as_json(),
        sheets=[Sheet(["ratio", *report.criteria], rows)],
        records=lambda: [point.as_json() for point in report.points],
        lines=[*_lines(report), *report.notes],
        draw=partial(_draw, report),
    )


def _draw(report: SweepReport, out: Path | io.BytesIO) -> None:
    from last_cli.display.figures.sweep import draw_sweep

    draw_sweep(report, out)


def _lines(report: SweepReport) -> list[str]:
    """What the numbers are."""
    base, task = report.baseline, report.task
    name = task_in_words(task)
    if report.metric == PERPLEXITY:
        return [
            f"{name}, {base.n:,} tokens on {base.device}; unpruned perplexity per token "
            f"{base.value:.4g} ± {base.stderr:.2g}",
            "increase of the perplexity in percent ± standard error, paired by window, mean over seeds; "
            "* Pareto-optimal (fewer states, lower perplexity)",
        ]
    return [
        f"{name}, {base.n:,} sequences of length {task['length']} "
        f"on {base.device}; unpruned {base.value:.2%} ± {base.stderr:.2%}",
        "difference to the unpruned model in percentage points ± paired standard error, mean over seeds; "
        "* Pareto-optimal (fewer states, higher accuracy)",
    ]


def write_files(report: SweepReport, folder: Path) -> list[Path]:
    """sweep.csv, sweep.json, report.html and, where matplotlib is installed, the figures; returns what was written."""
    view = sweep_view(report)
    texts = {
        "sweep.csv": csv_text(view.records()),
        "sweep.json": json_text(view.data),
        "report.html": text(view, "html"),
    }
    try:
        with unbroken():
            for name, content in texts.items():
                (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}", "choose another ⟦out⟧") from error
    return [*(folder / name for name in texts), *_figures(report, folder)]


def _figures(report: SweepReport, folder: Path) -> Sequence[Path]:
    if not available():
        return []
    from last_cli.display.figures.sweep import draw_sweep

    for name in FIGURES:
        draw_sweep(report, folder / name)
    return [folder / name for name in FIGURES]


def _cell(mean: SweepMean, metric: str) -> str:
    change = 100 * mean.worse if metric == PERPLEXITY else 0 - 100 * mean.worse
    return f"{change:+.2f} ± {100 * mean.worse_stderr:.2f}{'*' if mean.pareto else ' '}"
