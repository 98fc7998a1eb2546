"""`last demo`."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run

from last_cli.cli import demo
from last_cli.cli.program import main


@pytest.mark.parametrize(
    ("model", "few"), [((), ["--limit", "100"]), (("mamba2",), ["--window", "256", "--limit", "2"])]
)
def test_the_demo_runs_the_three_commands(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: tuple[str, ...], few: list[str]
) -> None:
    monkeypatch.setattr(demo, "main", lambda arguments: main([*arguments, *(few if arguments[0] == "eval" else [])]))
    code, out, _ = run("demo", *model)
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if line.startswith("$ last")] == ["score", "prune", "eval"]
    assert list(tmp_path.iterdir()) == []
