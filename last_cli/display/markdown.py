"""A view as Markdown that pastes into a GitHub step summary, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from last_cli.base.errors import spelled
from last_cli.display.escape import markdown
from last_cli.display.sheet import Sheet
from last_cli.display.view import View


def page(view: View) -> str:
    """A heading, the tables, the summary and the gates; ends with a blank line."""
    gates = [f"- {'✅' if gate.passed else '❌'} {markdown(spelled(gate.line))}" for gate in view.gates]
    lines = [f"- {markdown(spelled(line))}" for line in view.lines]
    parts = [f"### {markdown(view.title)}", *map(table, view.sheets), "\n".join([*lines, *gates])]
    return "".join(f"{part}\n\n" for part in parts if part)


def table(sheet: Sheet) -> str:
    """A table, without a line end."""
    align = [":--" if sheet.is_left(i) else "--:" for i in range(len(sheet.columns))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (_cells(sheet.columns), align, *_rows(sheet)))


def _rows(sheet: Sheet) -> Iterator[list[str]]:
    for row in [*sheet.rows, *([sheet.total] if sheet.total else [])]:
        yield _cells(row)


def _cells(row: Sequence[str]) -> list[str]:
    return [markdown(spelled(cell)) for cell in row]
