"""What `last verify` finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from last_cli.base.version import __version__
from last_cli.results.source import Json, Source


@dataclass(frozen=True)
class Check:
    """One thing that must hold, whether it does, and what was seen."""

    name: str
    passed: bool
    seen: str


@dataclass(frozen=True)
class VerifyReport:
    """What `last verify` shows.

    Attributes:
        checkpoint: what was checked.
        against: what it was compared with; None where only with the digests in its own stamp.
        checks: one by one.
        warnings: what could not be checked.
    """

    checkpoint: Source
    against: Source | None
    checks: Sequence[Check]
    warnings: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    def as_json(self) -> Json:
        """last.verify/1."""
        return {
            "schema": "last.verify/1",
            "last": __version__,
            "checkpoint": self.checkpoint.as_json(),
            "against": self.against and self.against.as_json(),
            "passed": self.passed,
            "checks": [vars(check) for check in self.checks],
            "warnings": list(self.warnings),
        }
