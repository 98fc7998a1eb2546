"""`last list`."""

from typing import Annotated, Literal

import typer

from last_cli.cli.app import command
from last_cli.cli.options import General


@command("last list criteria", "last list tasks --format json", name="list")
def list_(
    kind: Annotated[
        Literal["criteria", "families", "tasks", "presets", "methods"],
        typer.Argument(metavar="KIND", help="criteria, families, tasks, presets or methods.", show_default=False),
    ],
    general: General,
) -> None:
    """Criteria, families, tasks, presets or methods, each with a line about it."""
    from last_cli.display.inspect import show_list

    show_list(kind, general.form)
