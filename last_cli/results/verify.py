"""What `last verify` finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from last_cli.base.record import Record, Result
from last_cli.results.source import Source


@dataclass(frozen=True, repr=False)
class Check(Record):
    """One thing that must hold, whether it does, and what was seen."""

    name: str
    passed: bool
    seen: str


@dataclass(frozen=True, repr=False)
class VerifyReport(Result):
    """What `last verify` shows.

    Attributes:
        checkpoint: what was checked.
        against: what it was compared with; null where only with the digests in its own stamp.
        checks: one by one.
        warnings: what could not be checked.
    """

    command = "verify"
    headline = ("checkpoint", "passed")
    json_keys = ("checkpoint", "against", "passed", "checks", "warnings")

    checkpoint: Source
    against: Source | None
    checks: Sequence[Check]
    warnings: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)
