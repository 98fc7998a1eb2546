"""Kept units as stamps list them: by number, in a list for each group, or in one where people number through all."""

from __future__ import annotations

from typing import Any

import numpy as np

from last_cli.base.annotations import Bool


def listed(keep: Bool[np.ndarray, "G N"], flat: bool) -> list[Any]:
    """The numbers of kept units: one list where there is one group, or where units are numbered through all."""
    rows = [keep.ravel()] if flat else list(keep)
    lists = [np.flatnonzero(row).tolist() for row in rows]
    return lists[0] if len(lists) == 1 else lists


def by_group(kept: list[Any], groups: int, count: int, flat: bool) -> list[list[int]]:
    """The same as a list for each of so many groups of `count` units."""
    if groups == 1:
        return [kept]
    return [[n % count for n in kept if n // count == g] for g in range(groups)] if flat else kept
