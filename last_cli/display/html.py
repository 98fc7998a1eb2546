"""A view as one HTML file with its tables and figure: it loads nothing, and opens without a network."""

from __future__ import annotations

import html
import io
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from last_cli.base.errors import spelled
from last_cli.base.version import __version__
from last_cli.display.escape import plain
from last_cli.display.sheet import FULL, Sheet, is_bar
from last_cli.display.view import Draw, View

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; text-align: right; white-space: pre; background: #fff; }
th { border-bottom: 1.5px solid #888; font-weight: 600; }
th:first-child, td:first-child { position: sticky; left: 0; }
tbody tr:nth-child(even) td { background: #f5f6f8; }
tfoot td { border-top: 1px solid #888; font-weight: 600; }
.left { text-align: left; }
.bar { width: 8rem; height: 0.75em; background: #e0e0e0; } .bar div { height: 100%; background: #0072b2; }
ul { list-style: none; padding: 0; overflow-wrap: anywhere; }
.passed { color: #1a7f37; } .failed { color: #cf222e; font-weight: 600; }
.scroll { overflow-x: auto; } img { max-width: 100%; } footer, .details { color: #666; font-size: 0.85rem; }
footer { overflow-wrap: anywhere; }
"""
SMALLEST = 0.75
"""A figure shrinks to this share of its size on a narrow page, where its letters can still be read; then it scrolls."""


def page(view: View) -> str:
    """The file."""
    figures = [figure(view.draw, view.title)] if view.draw else []
    gates = [f'<li class="{"passed" if gate.passed else "failed"}">{_text(gate.line)}</li>' for gate in view.gates]
    parts = [
        f"<h1>{_text(view.title)}</h1>",
        *map(table, [*view.sheets, *view.more]),
        _list([f"<li>{_text(line)}</li>" for line in view.lines]),
        _list(gates),
        *figures,
        _list([f"<li>{_text(line)}</li>" for line in view.details], "details"),
        f"<footer>{_text(_origin(view.data))}</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(view.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def table(sheet: Sheet) -> str:
    """A table, which may be wider than the page."""
    names = [column and sheet.name(i) for i, column in enumerate(sheet.columns)]
    head = f"<thead>{_row(sheet, names, 'th')}</thead>" if any(sheet.columns) else ""
    foot = f"<tfoot>{_row(sheet, sheet.total, 'td')}</tfoot>" if sheet.total else ""
    rows = "\n".join(_row(sheet, row, "td") for row in sheet.rows)
    return f'<div class="scroll"><table>\n{head}\n<tbody>\n{rows}\n</tbody>\n{foot}</table></div>'


def figure(draw: Draw, title: str) -> str:
    """A figure, in the file itself; nothing where matplotlib is not installed."""
    from last_cli.display.figures.figure import available

    if not available():
        return ""
    drawn = io.BytesIO()
    draw(drawn)
    svg = drawn.getvalue()
    width = re.search(rb'<svg [^>]*?width="([0-9.]+)pt"', svg)
    style = f"min-width: {SMALLEST * float(width[1]):.0f}pt" if width else ""
    source = f"data:image/svg+xml;base64,{b64encode(svg).decode('ascii')}"
    return f'<div class="scroll"><img alt="{_text(title)}" style="{style}" src="{source}"></div>'


def _row(sheet: Sheet, row: Sequence[str], tag: str) -> str:
    cells = [
        f'<{tag} class="left">{_cell(cell)}</{tag}>' if sheet.is_left(i) else f"<{tag}>{_cell(cell)}</{tag}>"
        for i, cell in enumerate(row)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(cell: str) -> str:
    if not is_bar(cell):
        return _text(cell)
    return f'<div class="bar"><div style="width: {100 * cell.count(FULL) / len(cell):.0f}%"></div></div>'


def _origin(data: dict[str, Any]) -> str:
    """What made the page, and of which checkpoint."""
    made, source = f"last {__version__}", data.get("checkpoint")
    return f"{made}, {source['path']}, {source['digest']}" if isinstance(source, dict) else made


def _list(items: Sequence[str], kind: str = "lines") -> str:
    return f'<ul class="{kind}">{"".join(items)}</ul>' if items else ""


def _text(text: str) -> str:
    return html.escape(plain(spelled(text)))
