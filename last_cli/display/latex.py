"""A view as LaTeX tables in the style of booktabs, for papers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from last_cli.base.errors import spelled
from last_cli.base.version import __version__
from last_cli.display.escape import plain
from last_cli.display.sheet import Sheet, is_bar
from last_cli.display.view import View

_SPECIAL = {
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "λ": r"$\lambda$",
    "Σ": r"$\Sigma$",
    "Δ": r"$\Delta$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "²": r"\textsuperscript{2}",
}
_LETTER = re.compile("|".join(map(re.escape, _SPECIAL)))
_MINUS = re.compile(r"^-(?=\d)")


def page(view: View) -> str:
    """One tabular per table, without what is a picture; a comment says what made it."""
    said = f"% last {__version__}, {plain(view.title)}; needs \\usepackage{{booktabs}}\n"
    return said + "\n".join(map(tabular, view.sheets))


def tabular(sheet: Sheet) -> str:
    """A table."""
    rows = [list(map(spelled, row)) for row in sheet.rows]
    shown = [i for i in range(len(sheet.columns)) if not any(is_bar(row[i]) for row in rows)]
    align = "".join("l" if sheet.is_left(i) else "r" for i in shown)
    head = [_line(sheet.columns, shown), r"\midrule"] if any(sheet.columns) else []
    total = [r"\midrule", _line(sheet.total, shown)] if sheet.total else []
    body = [r"\toprule", *head, *(_line(row, shown) for row in rows), *total, r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{align}}}", *body, r"\end{tabular}", ""])


def _line(row: Sequence[str], shown: Sequence[int]) -> str:
    return " & ".join(_cells(row, shown)) + r" \\"


def _cells(row: Sequence[str], shown: Sequence[int]) -> Iterator[str]:
    for i in shown:
        yield _MINUS.sub("$-$", _LETTER.sub(lambda match: _SPECIAL[match[0]], plain(row[i])))
