"""Tables for pipes and files, where nothing has a colour and nothing is cut: without `rich`, which takes long to load.

They are what `rich` writes there, space by space.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence

_GAP, _EDGE, _RULE = "   ", " ", "─"


def is_plain(terminal: bool, encoding: str | None) -> bool:
    """Whether output to a stream has no colours and any character."""
    asked = {"FORCE_COLOR", "TTY_COMPATIBLE"} & set(os.environ)
    return not terminal and not asked and (encoding or "").lower().startswith("utf")


def plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] | None, left: Sequence[bool]
) -> str | None:
    """The table, a line a row; None where a character is not one column wide.

    Args:
        columns: headings; where all are empty there is no line of them.
        rows: of cells.
        total: a last row, set apart.
        left: of each column, whether it is aligned to the left.
    """
    texts = [columns, *rows, *([total] if total else [])]
    if not all(_is_narrow(cell) for row in texts for cell in row):
        return None
    widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        cells = (c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(row, widths, left, strict=True))
        return _EDGE + _GAP.join(cells) + _EDGE

    inner = sum(widths) + len(_GAP) * (len(widths) - 1)
    blank = " " * (inner + 2)
    heading = [line(columns), _EDGE + _RULE * inner + _EDGE] if any(columns) else []
    footer = [blank, line(total)] if total else []
    return "".join(f"{text}\n" for text in [blank, *heading, *map(line, rows), *footer, blank])


def _is_narrow(text: str) -> bool:
    return text.isascii() or all(
        unicodedata.east_asian_width(c) not in "WF" and unicodedata.category(c)[0] not in "MC" for c in text
    )
