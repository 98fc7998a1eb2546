"""What several commands do around their one call of the API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import last_cli as last
from last_cli.base.errors import spelled


def load(path: Path, quiet: bool, **options: Any) -> Any:
    """Open a checkpoint, and say what was read."""
    return tell_read(last.load(path, **options), quiet)


def tell_read(checkpoint: Any, quiet: bool) -> Any:
    """Say what was read, and give it back."""
    from last_cli.display.opened import read_line, said_lines

    tell_all(checkpoint.index.location.notes, "")
    tell(read_line(checkpoint), quiet)
    for line in said_lines(checkpoint):
        tell(line, quiet)
    return checkpoint


def show(view: Any, general: Any, warnings: Sequence[str] = ()) -> None:
    """The result in its form, and into a report; then what people read beside it: warnings and the summary."""
    from last_cli.display import forms
    from last_cli.display.view import detailed

    shown = detailed(view) if general.verbose else view
    forms.show(shown, general.form)
    if report := getattr(general, "report", None):
        forms.write_report(shown, report)
    tell_all(warnings, "warning")
    for line in shown.lines:
        tell(line, general.quiet)
    if report:
        tell(f"wrote {report}", general.quiet, "ok")


def check_plot(path: Path) -> None:
    """Raises UsageError where no figure can be drawn there; for before the work."""
    from last_cli.display.figures.figure import check

    check(path)


def tell(line: str, quiet: bool, kind: Literal["", "hint", "next", "ok", "error", "warning"] = "") -> None:
    """A line to stderr, its options spelled as flags; none where quiet."""
    if not quiet:
        from last_cli.display import terminal

        terminal.tell(spelled(line), kind)


def tell_all(lines: Sequence[str], kind: Literal["", "warning"]) -> None:
    """Lines that are told even where quiet."""
    for line in lines:
        tell(line, False, kind)


def tell_assumed(assumed: Any, quiet: bool) -> None:
    """What was assumed, where anything was."""
    from last_cli.display.opened import assumed_line

    if assumed:
        tell(assumed_line(assumed), quiet)


def tell_offer(checkpoint: Any, assumed: Any, quiet: bool) -> None:
    """The published configurations that the sizes may be of, where anything was assumed of the layers."""
    from last_cli.checkpoint.guess import NEVER, offered

    if not quiet and assumed.keys() - {*NEVER} and (offer := offered(checkpoint)):
        tell(f"these sizes are published ones: {offer}", quiet, "hint")


def tell_needed(result: Any, quiet: bool) -> None:
    """What the criterion was given."""
    from last_cli.display.opened import needed_lines

    for line in needed_lines(result.needed):
        tell(line, quiet)
