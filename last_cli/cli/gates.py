"""Gates on the command line: how limits are written, and how it is told that they hold or fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from last_cli.base.errors import UsageError, spelled
from last_cli.cli.shared import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from last_cli.display.view import Passed


def share(text: str) -> float:
    """2% or 0.02; a bare number from 1 could mean either."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no share, expected one such as 2% or 0.02") from error
    if text.endswith("%"):
        return value / 100
    if value >= 1:
        raise typer.BadParameter(f"{text} may mean {text}% or {value:.0%}: add the sign")
    return value


def report_of(forms: Sequence[str]) -> Callable[[str], Path]:
    """Reads the name of a report, before any work: its ending is one of these forms, and its directory is there."""

    def read(name: str) -> Path:
        from last_cli.display.forms import form_of

        path = Path(name)
        form_of(path, forms)
        if not path.absolute().parent.is_dir():
            raise UsageError(f"{path}: there is no directory {path.parent}", f"create it first: mkdir -p {path.parent}")
        return path

    return read


def fraction(accuracy: float | None) -> float | None:
    """60 means 60 percent, as 0.6 does."""
    return accuracy / 100 if accuracy is not None and accuracy > 1 else accuracy


def tell_gates(gates: Sequence[Passed], quiet: bool) -> None:
    """A line for each gate; one that fails is told where quiet, too."""
    for gate in gates:
        tell(gate.line, quiet and gate.passed, "ok" if gate.passed else "error")
        if not gate.passed:
            annotate(gate.line)


def annotate(line: str) -> None:
    """Under GitHub Actions, an annotation of the run."""
    from last_cli.display.escape import annotation

    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write(f"::error::{annotation(spelled(line))}\n")
