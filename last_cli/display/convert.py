"""What `last import` and `last export` show: the key map."""

from __future__ import annotations

from last_cli.display.sheet import Format, Sheet, show_sheet
from last_cli.results.convert import ExportReport, ImportReport


def show_keys(report: ImportReport | ExportReport, form: Format) -> None:
    """A row a tensor: its key on either side."""
    rows = [[k.source, k.target, "x".join(map(str, k.shape)), k.dtype, k.note] for k in report.keys]
    show_sheet(Sheet(["from", "to", "shape", "type", ""], rows, left=2), report.as_json(), form)
