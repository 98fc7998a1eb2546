"""What `last sweep` shows, and the files that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

from last_cli.base.errors import OutputError
from last_cli.display.figures.figure import available
from last_cli.display.figures.sweep import draw_sweep
from last_cli.display.sheet import Format, Sheet, as_read, csv_text, show_sheet, write_csv
from last_cli.results.sweep import SweepMean, SweepReport
from last_cli.tasks.task import PERPLEXITY

FIGURES = ("sweep.svg", "sweep.png")


def show_sweep(report: SweepReport, form: Format) -> None:
    """A row a ratio and a column a criterion; as CSV a row a point."""
    if form == "csv":
        write_csv(*_points(report))
        return
    means = {(mean.criterion, mean.ratio): mean for mean in report.means}
    rows = [
        [f"{ratio:.4g}", *(_cell(means[name, ratio], report.metric) for name in report.criteria)]
        for ratio in report.ratios
    ]
    show_sheet(Sheet(["ratio", *report.criteria], rows), report.as_json(), form)


def sweep_lines(report: SweepReport) -> list[str]:
    """What the numbers are."""
    base, task = report.baseline, report.task
    name = f"{task['name']} v{task['version']}, {task['split']} split"
    if report.metric == PERPLEXITY:
        return [
            f"{name}, {base.n:,} tokens on {base.device}; perplexity of the unpruned model "
            f"{base.value:.4g} ± {base.stderr:.2g} by token",
            "increase of the perplexity in percent ± its standard error, paired by window (mean over the seeds); "
            "* on the Pareto front of fewer states and lower perplexity",
        ]
    return [
        f"{name}, {base.n:,} sequences of length {task['length']} "
        f"on {base.device}; unpruned {base.value:.2%} ± {base.stderr:.2%}",
        "difference to the unpruned model in percentage points ± its paired standard error (mean over the seeds); "
        "* on the Pareto front of fewer states and higher accuracy",
    ]


def write_files(report: SweepReport, folder: Path) -> list[Path]:
    """sweep.csv, sweep.json and, where matplotlib is installed, the figures; returns what was written."""
    written = [folder / "sweep.csv", folder / "sweep.json"]
    try:
        written[0].write_text(csv_text(*_points(report)), encoding="utf-8")
        written[1].write_text(json.dumps(as_read(report.as_json()), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}", "choose another ⟦out⟧") from error
    if available():
        for name in FIGURES:
            draw_sweep(report, folder / name)
            written.append(folder / name)
    return written


def _points(report: SweepReport) -> tuple[list[str], list[list[object]]]:
    points = [point.as_json() for point in report.points]
    return list(points[0]), [list(point.values()) for point in points]


def _cell(mean: SweepMean, metric: str) -> str:
    change = 100 * mean.worse if metric == PERPLEXITY else 0 - 100 * mean.worse
    return f"{change:+.2f} ± {100 * mean.worse_stderr:.2f}{'*' if mean.pareto else ' '}"
