"""A result as a notebook shows it: the tables of its command, their rows for pandas, and its figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.base.record import Result
from last_cli.display.html import table
from last_cli.display.view import View, flat


def tables(result: Result) -> str:
    """The tables that the command prints, in HTML."""
    return "\n".join(map(table, _view(result).sheets))


def rows(result: Result) -> list[dict[str, Any]]:
    """The rows that the command prints as CSV."""
    return [dict(flat(record)) for record in _view(result).records()]


def drawn(result: Result, path: str | Path | None = None) -> str:
    """The figure that the command draws, as SVG; and into a file, where a path is given.

    Raises:
        UsageError: there is none, or matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    from last_cli.display.figures import figure

    if (draw := _view(result).draw) is None:
        raise UsageError(
            f"this result of {result.command} has no figure",
            "sweep, compare and bench draw one, and score of linear systems",
        )
    if not figure.available():
        raise UsageError("plot() needs matplotlib, which is not installed", "pip install matplotlib")
    if path is not None:
        figure.check(Path(path))
        draw(Path(path))
    out = io.BytesIO()
    draw(out)
    return out.getvalue().decode("utf-8")


def _view(result: Result) -> View:
    return registry.view_of(result.command)(result)
