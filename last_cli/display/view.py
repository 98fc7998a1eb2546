"""What people read of a result, in whatever form."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from last_cli.display.sheet import Sheet

Record = Mapping[str, Any]
Draw = Callable[[Path | io.BytesIO], None]


@dataclass(frozen=True)
class Passed:
    """A gate or check: its name, whether it holds, and the line that says so."""

    name: str
    passed: bool
    line: str


@dataclass(frozen=True)
class View:
    """What people read of a result, in whatever form.

    Attributes:
        title: the command and what it was about.
        data: the JSON object.
        sheets: its tables, the main one first.
        more: tables of how the result came about.
        records: gives the rows of the CSV form, by JSON keys.
        lines: the summary below the tables.
        details: how the result came about, and what its columns mean.
        gates: what must hold for exit code 0.
        draw: writes the figure as SVG; None where there is none.
    """

    title: str
    data: dict[str, Any]
    sheets: Sequence[Sheet]
    records: Callable[[], Sequence[Record]]
    lines: Sequence[str] = ()
    details: Sequence[str] = ()
    more: Sequence[Sheet] = ()
    gates: Sequence[Passed] = ()
    draw: Draw | None = None


def detailed(view: View) -> View:
    """The same, with how the result came about among the tables and lines."""
    return replace(view, sheets=[*view.sheets, *view.more], lines=[*view.lines, *view.details], more=(), details=())


def flat(record: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """One level of keys: `{"a": {"b": 1}}` is `a_b`."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}_")
        else:
            yield f"{prefix}{key}", value
