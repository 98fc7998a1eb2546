"""What all results have in common: where the numbers come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from last_cli.base.version import __version__

Json = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Which checkpoint a result is about.

    `digest` is the SHA-256 of its SSM parameters (names, shapes, types and bytes): what scores and pruning depend on.
    """

    path: str
    digest: str
    step: int | None
    layout: str
    notes: tuple[str, ...] = ()

    def as_json(self) -> Json:
        """The `checkpoint` object of every schema."""
        return {"path": self.path, "digest": self.digest, "step": self.step, "layout": self.layout}


def head(schema: str, checkpoint: Source) -> Json:
    """What a JSON object begins with: its schema, the version, and which checkpoint it is about."""
    return {"schema": schema, "last": __version__, "checkpoint": checkpoint.as_json()}
