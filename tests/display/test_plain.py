"""What is written to a pipe is what `rich` would write there."""

from __future__ import annotations

import io

import pytest

from last_cli.display import sheet
from last_cli.display.sheet import Sheet, write_table

SHEETS = {
    "a total": Sheet(["a", "bb", "count"], [["x", "yy", "1"], ["long one", "", "12,345"]], ["total", "", "5"], left=2),
    "no heading": Sheet(["", ""], [["path", "é → █░ ± \x1b[1m"], ["long one", "zz"]], left=2),
    "no rows": Sheet(["name", "n"], []),
    "one column": Sheet(["only"], [["a"], ["bcd"]]),
    "a column without heading": Sheet(["layer", "n", ""], [["x", "1", "###"], ["y", "22", "#"]]),
    "wide characters": Sheet(["name", "n"], [["状態", "1"], ["x", "22"]]),
    "much too wide": Sheet(["name", "n"], [["x" * 5000, "1"]]),
}


@pytest.mark.parametrize("name", SHEETS)
def test_plain_tables_are_those_of_rich(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def written(plain: bool) -> str:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr(sheet, "is_plain", lambda *_: plain)
        write_table(SHEETS[name])
        return out.buffer.getvalue().decode()  # pyright: ignore[reportAttributeAccessIssue]

    assert written(plain=True) == written(plain=False)


def test_rich_is_left_to_terminals_and_to_what_asks_for_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    assert sheet.is_plain(False, "utf-8") and not sheet.is_plain(True, "utf-8") and not sheet.is_plain(False, "ascii")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not sheet.is_plain(False, "utf-8")
