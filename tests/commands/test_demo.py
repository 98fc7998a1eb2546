"""`last demo`."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run

from last_cli.cli import demo
from last_cli.cli.program import main


def on_few_sequences(arguments: list[str]) -> int:
    return main([*arguments, *(["--limit", "100"] if arguments[0] == "eval" else [])])


def test_the_demo_runs_the_three_commands(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "main", on_few_sequences)
    code, out, _ = run("demo")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if line.startswith("$ last")] == ["score", "prune", "eval"]
    assert list(tmp_path.iterdir()) == []
