"""Pages of documentation: laid out in a terminal, elsewhere the Markdown that they are."""

from __future__ import annotations

import sys
from importlib import resources

from last_cli.base.errors import UsageError
from last_cli.base.version import __version__
from last_cli.base.words import suggestion
from last_cli.display.plain import is_plain
from last_cli.display.sheet import Format, Sheet, show_sheet, write_json

PAGES = resources.files("last_cli") / "explain"


def topics() -> dict[str, str]:
    """The headings of all pages by topic."""
    files = sorted((file for file in PAGES.iterdir() if file.name.endswith(".md")), key=lambda file: file.name)
    return {file.name.removesuffix(".md"): file.read_text("utf-8").partition("\n")[0].lstrip("# ") for file in files}


def show_topics(form: Format) -> None:
    """What there are pages about."""
    items = [{"topic": topic, "title": title} for topic, title in topics().items()]
    sheet = Sheet(["topic", "title"], [list(item.values()) for item in items], left=2)
    show_sheet(sheet, {"schema": "last.explain/1", "last": __version__, "topics": items}, form)


def show_page(topic: str, form: Format) -> None:
    """One page.

    Raises:
        UsageError: there is none about the topic.
    """
    known = topics()
    if topic not in known:
        raise UsageError(f"no page about '{topic}'", f"{suggestion(topic, known)}the topics are {', '.join(known)}")
    text = (PAGES / f"{topic}.md").read_text("utf-8")
    if form == "json":
        return write_json({"schema": "last.explain/1", "last": __version__, "topic": topic, "text": text})
    if form == "md" or is_plain(sys.stdout.isatty(), sys.stdout.encoding):
        sys.stdout.write(text)
        return None
    from rich.console import Console
    from rich.markdown import Markdown

    return Console().print(Markdown(text))
