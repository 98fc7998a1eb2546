"""What several commands do around their one call of the API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from last_cli.base.errors import spelled


def load(path: Path, step: int | None, item: str | None, preset: str | None, quiet: bool, **options: Any) -> Any:
    from last_cli.checkpoint.checkpoint import load
    from last_cli.display.opened import read_line

    checkpoint = load(path, step=step, item=item, preset=preset, **options)
    tell_all(checkpoint.index.location.notes, "")
    tell(read_line(checkpoint), quiet)
    return checkpoint


def layer_options(
    discretization: str | None, clip_eigs: bool | None, conj_sym: bool | None, step_rescale: float | None
) -> dict[str, Any]:
    return {
        "discretization": discretization,
        "clip_eigs": clip_eigs,
        "conj_sym": conj_sym,
        "step_rescale": step_rescale,
    }


def check_plot(path: Path) -> None:
    from last_cli.display.figures.figure import check

    check(path)


def fraction(accuracy: float | None) -> float | None:
    return accuracy / 100 if accuracy is not None and accuracy > 1 else accuracy


def tell(line: str, quiet: bool, kind: Literal["", "hint", "next", "ok", "error", "warning"] = "") -> None:
    if not quiet:
        from last_cli.display import terminal

        terminal.tell(spelled(line), kind)


def tell_all(lines: Sequence[str], kind: Literal["", "warning"]) -> None:
    for line in lines:
        tell(line, False, kind)


def tell_assumed(assumed: Any, quiet: bool) -> None:
    from last_cli.display.opened import assumed_line

    if assumed:
        tell(assumed_line(assumed), quiet)


def tell_needed(result: Any, quiet: bool) -> None:
    from last_cli.display.opened import needed_lines

    for line in needed_lines(result.needed):
        tell(line, quiet)
