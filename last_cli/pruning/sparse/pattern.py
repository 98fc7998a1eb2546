"""Which of a matrix's weights go, given a score for each: so many of every row, or of every few in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Bool, Float
from last_cli.base.errors import UsageError
from last_cli.base.words import suggestion

MODULES = ("in_proj", "out_proj", "mlp")
"""Linear maps that may be pruned; without being named, those of the first."""

LARGEST = 1024  # inputs that a pattern can be of


@dataclass(frozen=True)
class Pattern:
    """At most `stay` of every `of` weights in a row are other than zero."""

    stay: int
    of: int

    @property
    def ratio(self) -> float:
        """The share of zeros."""
        return 1 - self.stay / self.of


@dataclass(frozen=True)
class Sparsity:
    """How many of each row's weights go, and where."""

    ratio: float
    pattern: Pattern | None = None

    def removed(self, first: int, last: int) -> int:
        """How many of the columns from one to before another go; of all columns their share, rounded down."""
        if self.pattern:
            return (last - first) // self.pattern.of * (self.pattern.of - self.pattern.stay)
        return _count(self.ratio, last) - _count(self.ratio, first)

    def width(self, columns: int) -> int:
        """Among how many columns in a row it is chosen."""
        return self.pattern.of if self.pattern else columns


def pattern_of(text: str) -> Pattern:
    """The pattern that is called so, such as 2:4; raises UsageError where it is none."""
    stay, _, of = text.partition(":")
    if not (stay.isascii() and of.isascii() and stay.isdigit() and of.isdigit() and len(text) < LARGEST):
        found = None
    else:
        found = Pattern(int(stay), int(of))
    if found is None or not 0 < found.stay < found.of <= LARGEST:
        raise UsageError(
            f"⟨pattern⟩ is {text[:20]!r}, expected N:M, at most N weights other than zero of every M in a row",
            "2:4 is what GPUs have kernels for; 4:8 leaves more choice",
        )
    return found


def check_modules(names: tuple[str, ...]) -> None:
    """Raises UsageError where they are none of MODULES, or named twice."""
    for name in names:
        if name not in MODULES:
            raise UsageError(
                f"⟨modules⟩ names '{name}', expected some of {', '.join(MODULES)}",
                f"{suggestion(name, list(MODULES))}several are separated by commas",
            )
    if len(set(names)) < len(names) or not names:
        raise UsageError(
            f"⟨modules⟩ is {','.join(names)!r}, expected each once", "in_proj is what is pruned without it"
        )


def lowest(score: Float[np.ndarray, "... n"], count: int) -> Bool[np.ndarray, "... n"]:
    """So many of the last axis that are lowest; of equal ones the first."""
    found = np.zeros(score.shape, bool)
    np.put_along_axis(found, np.argsort(score, axis=-1, kind="stable")[..., :count], True, axis=-1)
    return found


def _count(ratio: float, columns: int) -> int:
    return int(ratio * columns + 1e-9)
