"""Pages of documentation: laid out in a terminal, elsewhere the Markdown that they are."""

from __future__ import annotations

import sys
from importlib import resources

from last_cli.base.errors import UsageError
from last_cli.base.words import suggestion
from last_cli.display.forms import Format, json_text
from last_cli.display.plain import is_plain
from last_cli.display.sheet import Sheet
from last_cli.display.view import View
from last_cli.results.listing import Pages, Topic

PAGES = resources.files("last_cli") / "explain"


def topics() -> dict[str, str]:
    """The headings of all pages by topic."""
    files = sorted((file for file in PAGES.iterdir() if file.name.endswith(".md")), key=lambda file: file.name)
    return {file.name.removesuffix(".md"): file.read_text("utf-8").partition("\n")[0].lstrip("# ") for file in files}


def topics_view() -> View:
    """What there are pages about."""
    data = Pages([Topic(*item) for item in topics().items()]).as_json()
    sheet = Sheet(["topic", "title"], list(map(list, topics().items())), left=2)
    return View("last explain", data, [sheet], lambda: data["topics"])


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
        sys.stdout.write(json_text(Pages(topic=topic, text=text).as_json()))
        return None
    if form not in ("table", "md"):
        raise UsageError(f"⟨format⟩ is {form}, and a page is a text", "⟦format md⟧, or ⟦format json⟧")
    if form == "md" or is_plain(sys.stdout.isatty(), sys.stdout.encoding):
        sys.stdout.write(text)
        return None
    from rich.console import Console
    from rich.markdown import Markdown

    return Console().print(Markdown(text))
