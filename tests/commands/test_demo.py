"""`last demo`."""

from __future__ import annotations

from pathlib import Path

from commands import Run


def test_the_demo_runs_the_three_commands(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("demo")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if line.startswith("$ last")] == ["score", "prune", "eval"]
    assert list(tmp_path.iterdir()) == []
