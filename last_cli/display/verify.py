"""What `last verify` shows."""

from __future__ import annotations

from last_cli.display.sheet import Sheet
from last_cli.display.view import Passed, View
from last_cli.display.words import base_name
from last_cli.results.verify import VerifyReport


def verify_view(report: VerifyReport) -> View:
    """One row per check."""
    data, name = report.as_json(), base_name(report.checkpoint.path)
    rows = [["PASS" if check.passed else "FAIL", check.name, check.seen] for check in report.checks]
    return View(
        title=f"last verify {name}",
        data=data,
        sheets=[Sheet(["", "check", "result"], rows, left=3)],
        records=lambda: data["checks"],
        lines=[] if not report.passed else [f"{len(report.checks)} checks passed"],
        gates=[Passed(c.name, c.passed, f"{name}: {c.name}: {c.seen}") for c in report.checks],
    )


def verify_failure(report: VerifyReport) -> str:
    """What is told where a check fails."""
    failed = sum(not check.passed for check in report.checks)
    return f"verification failed: {failed} of {len(report.checks)} checks"
