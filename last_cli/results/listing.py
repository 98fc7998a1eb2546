"""What `last list` and `last explain` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from last_cli.base.record import Record, Result


@dataclass(frozen=True, repr=False)
class Item(Record):
    """Something that has a name.

    Attributes:
        name: what it is called.
        summary: a line about it.
        kind: what it is, where several kinds are listed.
    """

    json_optional = ("kind",)

    name: str
    summary: str
    kind: str | None = None


@dataclass(frozen=True, repr=False)
class Listing(Result):
    """What `last list` shows.

    Attributes:
        kind: criteria, families, tasks, presets or methods; null where all are listed.
        items: one by one.
    """

    command = "list"
    headline = ("kind",)

    kind: str | None
    items: Sequence[Item]


@dataclass(frozen=True, repr=False)
class Topic(Record):
    """A page of the documentation.

    Attributes:
        topic: its name.
        title: its first line.
    """

    topic: str
    title: str


@dataclass(frozen=True, repr=False)
class Pages(Result):
    """What `last explain` shows: all pages, or one.

    Attributes:
        topics: the pages; absent where one is shown.
        topic: its name; absent where all are listed.
        text: the page, in Markdown.
    """

    command = "explain"
    headline = ("topic",)
    json_optional = ("topics", "topic", "text")

    topics: Sequence[Topic] = ()
    topic: str | None = None
    text: str | None = None
