"""`last list`."""

from typing import Annotated, Literal

import typer

from last_cli.cli.app import command
from last_cli.cli.options import Reported
from last_cli.cli.shared import show


@command("last list", "last list criteria", "last list tasks --format json", name="list")
def list_(
    kind: Annotated[
        Literal["criteria", "families", "tasks", "presets", "methods"] | None,
        typer.Argument(metavar="KIND", help="criteria, families, tasks, presets or methods.", show_default="all"),
    ] = None,
    *,
    general: Reported,
) -> None:
    """List criteria, families, tasks, presets and methods, one line each."""
    from last_cli.display.inspect import list_view

    show(list_view(kind), general)
