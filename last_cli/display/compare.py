"""What `last verify` and `last diff` show."""

from __future__ import annotations

from last_cli.base.words import some
from last_cli.display.sheet import Format, Sheet, show_sheet
from last_cli.display.words import number
from last_cli.results.diff import DiffReport
from last_cli.results.verify import VerifyReport


def show_verify(report: VerifyReport, form: Format) -> None:
    """A row a check."""
    rows = [["PASS" if check.passed else "FAIL", check.name, check.seen] for check in report.checks]
    show_sheet(Sheet(["", "check", "seen"], rows, left=3), report.as_json(), form)


def show_diff(report: DiffReport, form: Format) -> None:
    """A row a layer."""
    columns = ["layer", "states A", "states B", "median H∞ A", "median H∞ B", "same"]
    rows = [
        [
            layer.name,
            *("none" if n is None else f"{n:,}" for n in layer.states),
            *(number(h) for h in layer.hinf),
            "yes" if layer.equal else "no",
        ]
        for layer in report.layers
    ]
    total = ["parameters", *(f"{n:,}" for n in report.parameters), "", "", ""]
    show_sheet(Sheet(columns, rows, total), report.as_json(), form)


def diff_lines(report: DiffReport) -> list[str]:
    """What else differs."""
    lines = [f"{name}: {one} and {other}" for name, (one, other) in report.config.items()]
    if report.leaves:
        lines.append(f"other arrays differ: {some(report.leaves)}")
    return lines or (["the same" if report.same else "all else is the same"])
