"""What all results have in common: where the numbers come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Record

Json = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Source(Record):
    """Which checkpoint a result is about.

    Attributes:
        path: where it lies.
        digest: SHA-256 of its SSM parameters (names, shapes, types and bytes): what scores and pruning depend on.
        step: which step of a run; null where there are none.
        layout: the format.
    """

    json_keys = ("path", "digest", "step", "layout")

    path: str
    digest: str
    step: int | None
    layout: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Place(Record):
    """Which checkpoint a result is about that reads no arrays.

    Attributes:
        path: where it lies.
        step: which step of a run; null where there are none.
        item: which item of a step; null where there is one.
        layout: the format.
    """

    path: str
    step: int | None
    item: str | None
    layout: str
