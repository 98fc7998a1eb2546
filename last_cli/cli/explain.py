"""`last explain`."""

from typing import Annotated

import typer

from last_cli.cli.app import command
from last_cli.cli.completion import topics
from last_cli.cli.options import General
from last_cli.cli.shared import show


@command("last explain", "last explain methods", "last explain json --format md > json.md")
def explain(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="TOPIC", help="Name of a page.", show_default="lists all pages", autocompletion=topics),
    ] = None,
    *,
    general: General,
) -> None:
    """Read the documentation: methods, layouts, data, JSON, benchmarks and more, one page per topic."""
    from last_cli.display.explain import show_page, topics_view

    if topic is None:
        show(topics_view(), general)
    else:
        show_page(topic, general.form)
