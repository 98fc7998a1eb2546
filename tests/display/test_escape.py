"""Hostile names are harmless in every form but JSON, which has them as they are."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Run, data, fails
from random_layers import classifier, write

from last_cli.display import terminal
from last_cli.display.escape import annotation, label, markdown, plain, spreadsheet
from last_cli.display.forms import GateFormat, json_text, show, text
from last_cli.display.sheet import Sheet
from last_cli.display.view import Passed, View

HOSTILE = [
    "\x1b[31mred",
    "a\nb",
    "::error::x",
    "\u202ecba",
    "=1+1",
    "@SUM(1)",
    "[red]x[/red]",
    "<b>x",
    "a|b",
    "\x9b2J",
    "##[error]x",
]
HOSTILE += ["# x", "[a](http://x)", "__x__", "\ud800", "\x07", "\u200bhidden", "-1+1", "\t=1"]


EMPTY = [
    line for line in text(View("title", {}, [Sheet(["layer"], [["x"]], ["x"])], list), "html").splitlines() if line
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", ["table", "md", "csv", "latex", "html", "junit"])
def test_a_name_is_one_cell_of_one_line(capsys: pytest.CaptureFixture[str], name: str, form: GateFormat) -> None:
    sheet = Sheet(["layer", name], [[name, "-1"]], [name, name])
    gates = [Passed(name, False, name)] if form == "junit" else []
    show(View("title", {}, [sheet], lambda: [{"layer": name, name: -1}], gates=gates), form)
    out = capsys.readouterr().out
    assert not any(c in out for c in "\x1b\x9b\x07\t\u202e\u200b\ud800") and "::" not in out and "##[" not in out
    lines = [line for line in out.splitlines() if line.strip()]
    usual = {"table": 4 + ("─" in out) - 1, "md": 5, "csv": 2, "latex": 10, "html": len(EMPTY), "junit": 6}
    assert len(lines) == usual[form], out
    assert "<b>" not in out or form in ("table", "csv", "latex")
    if form == "csv":
        cell, number = list(csv.reader(io.StringIO(out)))[1]
        assert cell[0] not in "=+-@" and number == "-1"
    if name == "[red]x[/red]" and form == "table":
        assert "[red]x[/red]" in out


def test_markup_of_markdown_is_text() -> None:
    assert markdown("a|b <i> [l](http://x) `c` *d* __e__ # &amp;") == (
        r"a\|b \<i\> \[l\](http\://x) \`c\` \*d\* \_\_e\_\_ # \&amp;"
    )
    assert markdown("# x") == r"\# x" and markdown("encoder/layers_0/seq") == "encoder/layers_0/seq"


def test_other_forms() -> None:
    assert plain("\x1b[2J\n\u202e::x") == r"\x1b[2J\n\u202e\x3a:x"
    assert spreadsheet("=1") == "'=1" and spreadsheet("-1.5") == "-1.5" and spreadsheet(-1.5) == -1.5
    assert annotation("50%\n::x") == r"50%25\n\x3a:x" and label("$x$") == r"\$x\$"


def test_json_has_names_as_they_are() -> None:
    assert json.loads(json_text({"names": HOSTILE}))["names"] == HOSTILE


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    terminal._console.cache_clear()
    terminal.tell("a\x1b[31m\n[red]b[/red]", "warning")
    terminal._console.cache_clear()
    assert capsys.readouterr().err == "warning: a\\x1b[31m\\n[red]b[/red]\n"


def test_a_layer_called_so(run: Run, tmp_path: Path) -> None:
    name = "\x1b[31m[red]"
    arrays = {
        tuple(name if part == "layers_0" else part for part in key): array
        for key, array in classifier(blocks=2).items()
    }
    write(tmp_path / "ckpt", arrays)
    for form in ("table", "md", "csv"):
        code, out, err = run("score", "ckpt", "--format", form)
        assert code == 0 and "\x1b" not in out + err and r"\x1b" in out
    found = data(run, "score", "ckpt", "--layer", f"encoder/{name}/seq")["layers"]
    assert [layer["name"] for layer in found] == [f"encoder/{name}/seq"]
    error, _ = fails(run, "score", "ckpt", "--layer", "\x1b::none")
    assert r"no layer matches '\x1b\x3a:none'" in error
    assert np.isfinite(found[0]["score"]["max"])
