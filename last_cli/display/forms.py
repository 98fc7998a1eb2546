"""A view in every form: as a table, JSON, CSV, Markdown, LaTeX, HTML, or what JUnit reads."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import last_cli.display.escape as escape
from last_cli.base.errors import OutputError, UsageError, spelled
from last_cli.base.record import as_read
from last_cli.base.unbroken import unbroken
from last_cli.display.sheet import write_table
from last_cli.display.view import Record, View, flat

Format = Literal["table", "json", "csv", "md", "latex", "html"]
GateFormat = Literal["table", "json", "csv", "md", "latex", "html", "junit"]
ENDINGS: dict[str, GateFormat] = {
    ".json": "json",
    ".csv": "csv",
    ".md": "md",
    ".tex": "latex",
    ".html": "html",
    ".xml": "junit",
}


def show(view: View, form: GateFormat) -> None:
    """Write a view to stdout; of a table the lines go elsewhere, to whoever reads along."""
    if form == "table":
        for sheet in view.sheets:
            write_table(sheet)
        return
    sys.stdout.write(text(view, form))


def text(view: View, form: GateFormat) -> str:
    """A view as the content of a file.

    Raises:
        UsageError: JUnit is to read what has no gates.
    """
    match form:
        case "json":
            return json_text(view.data)
        case "csv":
            return csv_text(view.records())
        case "md":
            from last_cli.display.markdown import page
        case "latex":
            from last_cli.display.latex import page
        case "html":
            from last_cli.display.html import page
        case _:
            from last_cli.display.junit import page
    return page(view)


def form_of(path: Path, forms: Sequence[str]) -> Any:
    """The form that a file's ending names.

    Raises:
        UsageError: it names none of `forms`.
        OutputError: a JSON file is there that is no report.
    """
    form = ENDINGS.get(path.suffix)
    if form not in forms:
        able = ", ".join(ending for ending, known in ENDINGS.items() if known in forms)
        raise UsageError(f"{path}: expected a name that ends with one of {able}", "for example ⟦report report.html⟧")
    if form == "json" and not _is_report(path):
        raise OutputError(f"{path}: is no report of `last`, so it is not replaced", "choose another ⟦report⟧")
    return form


def _is_report(path: Path) -> bool:
    """Whether there is nothing to lose: a stamp or a configuration beside arrays has the ending of a report, too."""
    from last_cli.formats.json_file import read_aside
    from last_cli.formats.stamp import is_stamp

    if not path.is_file() or not path.stat().st_size:
        return True
    content = read_aside(path)[0]
    return str(content.get("schema", "")).startswith("last.") and not is_stamp(content)


def write_report(view: View, path: Path) -> None:
    """The same report into a file.

    Raises:
        OutputError: it cannot be written.
    """
    content = text(view, ENDINGS[path.suffix])
    try:
        with unbroken():
            path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}", "choose another ⟦report⟧") from error


def json_text(data: dict[str, Any]) -> str:
    """One object, its numbers at full precision, infinities as null."""
    import json

    return escape.json_text(json.dumps(as_read(data), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def csv_text(records: Sequence[Record]) -> str:
    """A row per record under its keys; what is nested gets joined keys."""
    import csv

    rows = [dict(flat(record)) for record in records]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    cells = ([escape.spreadsheet(_cell(row.get(column))) for column in columns] for row in rows)
    csv.writer(buffer, lineterminator="\n").writerows([[escape.spreadsheet(c) for c in columns], *cells])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return spelled(value) if isinstance(value, str) else value
