"""What `last tune` shows."""

from __future__ import annotations

from dataclasses import replace

from last_cli.display.sheet import Format, Sheet, show_sheet
from last_cli.display.words import number
from last_cli.results.tune import TuneReport

MOST = 12  # rows


def show_tune(report: TuneReport, form: Format, output: str | None) -> None:
    """`last tune`: what the held-out sequences said along the way, a row a look."""
    show_sheet(
        _sheet(report, MOST if form != "csv" else len(report.points)), replace(report, output=output).as_json(), form
    )


def tune_lines(report: TuneReport) -> list[str]:
    """What was trained, on what, and what came of it."""
    source = ", ".join(f"{name} {value}" for name, value in report.inputs.items() if name != "digest")
    stopped = f", of {report.planned_steps:,}" if report.steps < report.planned_steps else ""
    resumed = f", {report.resumed_steps:,} of them by an interrupted run" if report.resumed_steps else ""
    error, same = report.error, report.agreement
    lines = [
        f"tuned {', '.join(report.leaves)}: {report.steps:,} steps{stopped}{resumed} in {report.seconds:.0f} s, on: "
        f"{source}; no label was read",
        f"held out ({report.held_out:,} of {report.sequences:,} sequences): divergence from the teacher's answers "
        f"{number(error.before)} -> {number(error.after)} nats, same answer {same.before:.1%} -> {same.after:.1%}",
    ]
    if not report.best_step:
        lines.append("no step made the held-out error smaller: what is written is as it was")
    if report.moments_cleared:
        lines.append(f"{report.moments_cleared} moments of the optimizer are 0 now: they belonged to the old numbers")
    return lines


def _sheet(report: TuneReport, most: int) -> Sheet:
    points = report.points
    chosen = {0, len(points) - 1, *(i * (len(points) - 1) // max(most - 1, 1) for i in range(most))}
    shown = [p for i, p in enumerate(points) if i in chosen or p.step == report.best_step]
    rows = [
        [f"{p.step:,}", number(p.error), f"{p.agreement:.1%}", "written" if p.step == report.best_step else ""]
        for p in shown
    ]
    return Sheet(["step", "held-out divergence", "same answer", ""], rows, left=0)
