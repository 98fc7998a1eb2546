"""Progress on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from last_cli.display import terminal


def test_progress_appears_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    monkeypatch.setattr(terminal, "_console", lambda: console)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with terminal.progress_bar(quiet=False):
        pass
    assert "compiling" in out.getvalue()
    out.truncate(0)
    with terminal.progress_bar(quiet=False) as advance:
        assert advance is not None
        advance("evaluate", 0, 9)
        advance("evaluate", 3, 9)
    assert "compiling" not in out.getvalue().splitlines()[-1] and "3/9" in out.getvalue()
    with terminal.progress_bar(quiet=True) as advance:
        assert advance is None
