"""`last diff`."""

from pathlib import Path
from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.gates import annotate_failed
from last_cli.cli.options import Gated
from last_cli.cli.shared import load, show


@command("last diff ckpt/ pruned/", "last diff runs/3 runs/4 --format json")
def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="Path of a checkpoint.", show_default=False)],
    other: Annotated[Path, typer.Argument(metavar="B", help="Path of another checkpoint.", show_default=False)],
    general: Gated,
) -> None:
    """Compare states, norms, parameters and configuration of two checkpoints; exit 1 if they differ."""
    from last_cli.display.diff import diff_view

    result = last.diff(load(one, general.quiet), load(other, general.quiet))
    view = diff_view(result)
    show(view, general)
    annotate_failed(view.gates)
    raise typer.Exit(0 if result.same else 1)
