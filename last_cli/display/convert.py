"""What `last import` and `last export` show: the key map."""

from __future__ import annotations

from last_cli.display.sheet import Sheet
from last_cli.display.view import View
from last_cli.display.words import base_name
from last_cli.results.convert import ExportReport, ImportReport


def convert_view(report: ImportReport | ExportReport) -> View:
    """One row per tensor: its key on either side."""
    data = report.as_json()
    rows = [[k.source, k.target, "x".join(map(str, k.shape)), k.dtype, k.note] for k in report.keys]
    command, source = (
        ("import", report.source.path) if isinstance(report, ImportReport) else ("export", report.checkpoint.path)
    )
    return View(
        title=f"last {command} {base_name(source)}",
        data=data,
        sheets=[Sheet(["from", "to", "shape", "type", ""], rows, left=2)],
        records=lambda: data["keys"],
    )
