"""A table of texts, as people read it in a terminal or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import last_cli.display.escape as escape
from last_cli.base.errors import spelled
from last_cli.display.plain import is_plain, plain_table

WIDE = 4000  # a piped table is never cut
FULL, EMPTY = "█░"


@dataclass(frozen=True)
class Sheet:
    """Rows of text under headings, and perhaps a row of totals; every column but the first `left` is right-aligned.

    Attributes:
        drop: columns, by place, that a narrow terminal does without, the first one first.
        names: of columns whose heading alone does not tell which they are.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] | None = None
    left: int = 1
    drop: Sequence[int] = ()
    names: Mapping[int, str] = field(default_factory=dict)

    def is_left(self, column: int) -> bool:
        """Whether a column is aligned to the left."""
        return column < self.left or not self.columns[column]

    def name(self, column: int) -> str:
        """What a column is called apart from the others."""
        return self.names.get(column, self.columns[column])


def is_bar(cell: str) -> bool:
    """Whether a cell is a picture made of letters, which says nothing that another cell does not."""
    return bool(cell) and not cell.strip(FULL + EMPTY)


def write_table(sheet: Sheet) -> None:
    """As a table that fits the terminal; below it, which columns that took."""
    if is_plain(sys.stdout.isatty(), sys.stdout.encoding) and (text := _plain(sheet)):
        sys.stdout.write(text)
        return
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    free = console.options.update(max_width=WIDE)

    def too_wide(table: Any) -> bool:
        return console.measure(table, options=free).maximum > console.width

    table, hidden = _table(sheet, (0, 1)), set[int]()
    for count in range(len(sheet.drop) + 1):
        if not too_wide(table):
            break
        hidden = set(sheet.drop[:count])
        table = _table(sheet, (0, 1, 0, 0), hidden)
    if too_wide(table):
        table = _table(sheet, (0, 1, 0, 0), hidden, wrap=True)  # better on two lines than cut off
    console.print(table)
    if hidden:
        names = ", ".join(escape.plain(sheet.name(i)) for i in sorted(hidden))
        console.print(f"hidden in this width: {names}", style="dim", markup=False)


def _plain(sheet: Sheet) -> str | None:
    """Where nothing needs `rich`: every column is as wide as it has to be."""
    shown = [
        [escape.plain(cell) for cell in sheet.columns],
        *([escape.plain(spelled(c)) for c in r] for r in sheet.rows),
    ]
    total = [escape.plain(cell) for cell in sheet.total] if sheet.total else None
    left = [sheet.is_left(i) for i in range(len(sheet.columns))]
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
        words = 1 < sheet.left == i + 1  # the last column of a list may take several lines
        justify = "left" if sheet.is_left(i) else "right"
        table.add_column(Text(column), Text(footer), justify=justify, no_wrap=not (words or wrap))
    for row in sheet.rows:
        bars = ["cyan" if is_bar(row[i]) else "" for i in shown]
        table.add_row(*[Text(escape.plain(spelled(row[i])), bar) for i, bar in zip(shown, bars, strict=True)])
    return table
