"""What `last tune` shows."""

from __future__ import annotations

from last_cli.base.words import counted
from last_cli.display.calibration import in_words
from last_cli.display.sheet import Sheet
from last_cli.display.view import View
from last_cli.display.words import base_name, number
from last_cli.results.tune import TuneReport

MOST = 12  # rows


def tune_view(report: TuneReport) -> View:
    """What the held-out sequences said along the way, one row per look."""
    data = report.as_json()
    return View(
        title=f"last tune {base_name(report.checkpoint.path)}",
        data=data,
        sheets=[_sheet(report)],
        records=lambda: data["points"],
        lines=tune_lines(report),
    )


def tune_lines(report: TuneReport) -> list[str]:
    """What was trained, on what, and what came of it."""
    stopped = f", of {report.planned_steps:,}" if report.steps < report.planned_steps else ""
    resumed = f", {report.resumed_steps:,} of them by an interrupted run" if report.resumed_steps else ""
    error, agreement = report.error, report.agreement
    lines = [
        f"tuned {', '.join(report.leaves)}: {counted(report.steps, 'step')}{stopped}{resumed} "
        f"in {report.seconds:.0f} s, without labels, on {in_words(report.inputs)}",
        f"held out ({report.held_out:,} of {report.sequences:,} sequences): divergence from the teacher's answers "
        f"{number(error.before)} -> {number(error.after)} nats, agreement {agreement.before:.1%} -> "
        f"{agreement.after:.1%}",
    ]
    if not report.best_step:
        lines.append("no step reduced the held-out error: the written weights are unchanged")
    if report.moments_cleared:
        lines.append(f"{report.moments_cleared} optimizer moments set to 0: they belonged to the old weights")
    return lines


def _sheet(report: TuneReport) -> Sheet:
    points = report.points
    chosen = {0, len(points) - 1, *(i * (len(points) - 1) // (MOST - 1) for i in range(MOST))}
    shown = [p for i, p in enumerate(points) if i in chosen or p.step == report.best_step]
    rows = [
        [f"{p.step:,}", number(p.error), f"{p.agreement:.1%}", "written" if p.step == report.best_step else ""]
        for p in shown
    ]
    return Sheet(["step", "held-out divergence", "agreement", ""], rows, left=0)
