"""Names in sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 step", "2,000 steps"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are: "a, b, c and 4 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def suggestion(name: str, names: Iterable[str]) -> str:
    """What a misspelt name may mean, as the start of a hint: "did you mean 'last'? "; empty where nothing is close."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'? " if close else ""
