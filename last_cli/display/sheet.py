"""The four forms of a result on stdout: table, JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import last_cli.display.escape as escape
from last_cli.base.errors import spelled
from last_cli.display.plain import is_plain, plain_table

Format = Literal["table", "json", "csv", "md"]


WIDE = 4000  # a piped table is never cut


@dataclass(frozen=True)
class Sheet:
    """Rows of text under headings, and perhaps a row of totals; every column but the first `left` is right-aligned.

    `drop` lists the columns, by place, that a narrow terminal does without, the first one first.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] | None = None
    left: int = 1
    drop: Sequence[int] = ()


def show_sheet(sheet: Sheet, data: dict[str, Any], form: Format) -> None:
    """Any other result: `data` as JSON, the sheet in the other forms."""
    if form == "json":
        return write_json(data)
    return write_csv(sheet.columns, sheet.rows) if form == "csv" else write_sheet(sheet, form)


def write_json(data: dict[str, Any]) -> None:
    """One object, its numbers at full precision, infinities as null."""
    text = json.dumps(as_read(data), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(escape.json_text(text) + "\n")


def write_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Plain rows under headings."""
    sys.stdout.write(spelled(csv_text(columns, rows)))


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as a text."""
    buffer = io.StringIO()
    cells = ([escape.spreadsheet(cell) for cell in row] for row in (columns, *rows))
    csv.writer(buffer, lineterminator="\n").writerows(cells)
    return buffer.getvalue()


def write_sheet(sheet: Sheet, form: Format) -> None:
    """As a table for people, which fits the terminal, or as Markdown."""
    if form == "md":
        _markdown(sheet)
        return
    if is_plain(sys.stdout.isatty(), sys.stdout.encoding) and (text := _plain(sheet)):
        sys.stdout.write(text)
        return
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    free = console.options.update(max_width=WIDE)
    table, dropped = _table(sheet, (0, 1)), 0
    while console.measure(table, options=free).maximum > console.width and dropped <= len(sheet.drop):
        table, dropped = _table(sheet, (0, 1, 0, 0), set(sheet.drop[:dropped])), dropped + 1
    if console.measure(table, options=free).maximum > console.width:
        table = _table(sheet, (0, 1, 0, 0), set(sheet.drop), wrap=True)  # better on two lines than cut off
    console.print(table)


def _plain(sheet: Sheet) -> str | None:
    """Where nothing needs `rich`: every column is as wide as it has to be."""
    shown = [
        [escape.plain(cell) for cell in sheet.columns],
        *([escape.plain(spelled(c)) for c in r] for r in sheet.rows),
    ]
    total = [escape.plain(cell) for cell in sheet.total] if sheet.total else None
    left = [i < sheet.left or not column for i, column in enumerate(shown[0])]
    text = plain_table(shown[0], shown[1:], total, left)
    return text if text and text.index("\n") <= WIDE else None


def _table(
    sheet: Sheet,
    padding: tuple[int, int] | tuple[int, int, int, int],
    hidden: Set[int] = frozenset(),
    wrap: bool = False,
) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_header=any(sheet.columns),
        show_footer=sheet.total is not None,
        pad_edge=False,
        padding=padding,
    )
    shown = [i for i in range(len(sheet.columns)) if i not in hidden]
    for i in shown:
        column, footer = escape.plain(sheet.columns[i]), escape.plain(sheet.total[i]) if sheet.total else ""
        left = i < sheet.left or not column
        words = 1 < sheet.left == i + 1  # the last column of a list may take several lines
        table.add_column(Text(column), Text(footer), justify="left" if left else "right", no_wrap=not (words or wrap))
    for row in sheet.rows:
        bars = ["cyan" if "█" in row[i] or "░" in row[i] else "" for i in shown]
        table.add_row(*[Text(escape.plain(spelled(row[i])), bar) for i, bar in zip(shown, bars, strict=True)])
    return table


def _markdown(sheet: Sheet) -> None:
    align = [":--" if i < sheet.left or not c else "--:" for i, c in enumerate(sheet.columns)]
    texts = [[escape.markdown(spelled(cell)) for cell in row] for row in (sheet.columns, *sheet.rows)]
    total = [[escape.markdown(cell) for cell in sheet.total]] if sheet.total else []
    rows = [texts[0], align, *texts[1:], *total]
    sys.stdout.write("".join("| " + " | ".join(row) + " |\n" for row in rows))


def as_read(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null. Texts have their options spelled."""
    if isinstance(value, dict):
        return {key: as_read(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_read(item) for item in value]
    if isinstance(value, str):
        return spelled(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
