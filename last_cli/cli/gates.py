"""Gates on the command line: how limits are written, and how it is told that they hold or fail."""

# No `from __future__ import annotations` here: see options.
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import typer

from last_cli.base.errors import AnswerIsNo, UsageError, spelled
from last_cli.cli.shared import tell
from last_cli.display.forms import Format, GateFormat
from last_cli.display.view import Passed


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


report_option = partial(typer.Option, "--report", "-o", metavar="FILE")
Report = Annotated[
    Path | None,
    report_option(parser=report_of(get_args(Format)), help="Also write it to a .html, .md, .tex, .csv or .json file."),
]
GateReport = Annotated[
    Path | None,
    report_option(
        parser=report_of(get_args(GateFormat)),
        help="Also write it to a .html, .md, .tex, .csv, .json or (JUnit) .xml file.",
    ),
]


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


def fraction(accuracy: float | None) -> float | None:
    """60 means 60 percent, as 0.6 does."""
    return accuracy / 100 if accuracy is not None and accuracy > 1 else accuracy


def tell_gates(gates: Sequence[Passed], quiet: bool) -> None:
    """A line for each gate; one that fails is told where quiet, too."""
    for gate in gates:
        tell(gate.line, quiet and gate.passed, "ok" if gate.passed else "error")
    annotate_failed(gates)


def annotate_failed(gates: Sequence[Passed]) -> None:
    """Under GitHub Actions, an annotation per gate or check that does not hold."""
    for gate in gates:
        if not gate.passed:
            annotate(gate.line)


@contextmanager
def annotated(checkpoint: Path) -> Iterator[None]:
    """A budget that no ratio meets is annotated, too."""
    try:
        yield
    except AnswerIsNo as no:
        annotate(f"{checkpoint.name}: {no.message}")
        raise


def expect_gates(form: str, report: Path | None, limits: Sequence[object]) -> None:
    """Before any work: raises UsageError where the gates shall be shown to JUnit, and there are none."""
    asked = form == "junit" or (report is not None and report.suffix == ".xml")
    if asked and all(limit is None for limit in limits):
        raise UsageError("⟦format junit⟧ shows gates, and there are none", "add one, such as ⟦min_accuracy 0.6⟧")


def annotate(line: str) -> None:
    """Under GitHub Actions, an annotation of the run."""
    from last_cli.display.escape import annotation

    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write(f"::error::{annotation(spelled(line))}\n")
