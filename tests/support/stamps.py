"""What a stamp says, without what every written file has in it."""

from __future__ import annotations

from typing import Any

from last_cli.formats import Index


def said(index: Index) -> dict[str, Any] | None:
    """The stamp as it was given to `save`."""
    return index.stamp and {key: value for key, value in index.stamp.items() if key != "written"}
