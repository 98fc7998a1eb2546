"""`last explain`."""

from typing import Annotated

import typer

from last_cli.cli.app import command
from last_cli.cli.options import General


def _topics(incomplete: str) -> list[str]:
    """What a shell offers."""
    from last_cli.display.explain import topics

    return [topic for topic in topics() if topic.startswith(incomplete)]


@command("last explain", "last explain methods", "last explain json --format md > json.md")
def explain(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="TOPIC", help="A page's name.", show_default="lists all pages", autocompletion=_topics),
    ] = None,
    *,
    general: General,
) -> None:
    """The documentation: methods, layouts, data, JSON, benchmarks and more, one page per topic."""
    from last_cli.display.explain import show_page, show_topics

    if topic is None:
        show_topics(general.form)
    else:
        show_page(topic, general.form)
