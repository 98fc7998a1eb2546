"""What `last compare` shows."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

from last_cli.display.sheet import Sheet
from last_cli.display.view import View
from last_cli.display.words import base_name, task_in_words
from last_cli.results.compare import ComparedMean, CompareReport
from last_cli.tasks.task import ACCURACY


def compare_view(report: CompareReport) -> View:
    """One row per model, over its seeds; as CSV one row per checkpoint."""
    data, task = report.as_json(), report.task
    seeds = any(mean.seeds > 1 for mean in report.means)
    first = report.means[0].name
    unit = "percentage points" if report.metric == ACCURACY else "percent of the perplexity"
    columns = ["model", *(["seeds"] if seeds else []), "states", "parameters", report.metric, "difference"]
    over = ", mean over seeds" if seeds else ""
    return View(
        title=f"last compare on {task['name']}",
        data=data,
        sheets=[Sheet(columns, [_row(report, mean, seeds) for mean in report.means], drop=(len(columns) - 3,))],
        records=lambda: data["points"],
        lines=[
            f"{task_in_words(task)}, n = {report.n:,} on {report.device}",
            f"difference to {base_name(first)} in {unit} ± paired standard error{over}",
            *report.notes,
        ],
        draw=partial(_draw, report),
    )


def _draw(report: CompareReport, out: Path | io.BytesIO) -> None:
    from last_cli.display.figures.compare import draw_compare

    draw_compare(report, out)


def _row(report: CompareReport, mean: ComparedMean, seeds: bool) -> list[str]:
    accuracy = report.metric == ACCURACY
    value = f"{mean.value:.2%} ± {mean.stderr:.2%}" if accuracy else f"{mean.value:.4g} ± {mean.stderr:.2g}"
    change = f"{100 * mean.difference:+.2f} ± {100 * mean.difference_stderr:.2f}"
    sizes = [f"{mean.states:,.0f}", f"{mean.parameters:,.0f}"]
    return [base_name(mean.name), *([f"{mean.seeds}"] if seeds else []), *sizes, value, change]
