"""A result in every form, and files that open without a network."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from commands import S5, Run, fails

import last_cli as last
from last_cli.base.errors import UsageError
from last_cli.display.figures.sweep import _xy, draw_sweep
from last_cli.display.forms import ENDINGS, form_of, show, text
from last_cli.display.html import figure
from last_cli.display.sheet import Sheet, write_table
from last_cli.display.sweep import write_files
from last_cli.display.view import Passed, View, detailed
from last_cli.pruning.means import means_of
from last_cli.results.sweep import SweepPoint, SweepReport, Unpruned

NAME = "<script src='http://example.org/x.js'>"
SHEET = Sheet(["layer", "λ", ""], [["a_1", "-0.50 ± 0.10", "██░░"], ["50 %", "2", "░░░░"]], ["total", "1", ""])
GATES = [Passed("max_drop", False, "p33: gate failed: accuracy drop 1.50 points > 0.5 (⟦max_drop⟧)")]
VIEW = View(
    "last prune p33", {"a": 1}, [SHEET], lambda: [{"a": {"b": 1.5, "c": [2, 3]}}], ["a line"], ["why"], [SHEET], GATES
)


def test_markdown_appended_stays_two_tables() -> None:
    page = text(VIEW, "md")
    assert page.startswith("### last prune p33\n\n| layer |") and page.endswith("\n\n")
    assert "- a line\n- ❌ p33: gate failed" in page
    blocks = [block for block in (page + page).split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2 and all(len(block.splitlines()) == 5 for block in blocks)


def test_latex_is_booktabs_without_pictures() -> None:
    assert text(VIEW, "latex").splitlines()[1:] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"layer & $\lambda$ \\",
        r"\midrule",
        r"a\_1 & $-$0.50 $\pm$ 0.10 \\",
        r"50 \% & 2 \\",
        r"\midrule",
        r"total & 1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_csv_has_the_keys_of_json() -> None:
    assert text(VIEW, "csv") == "a_b,a_c\n1.5,2x3\n"


def test_junit_is_a_test_per_gate() -> None:
    suite = ElementTree.fromstring(text(VIEW, "junit"))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite[0].find("failure")
    assert (
        suite[0].get("name") == "max_drop" and failure is not None and "p33: gate failed" in failure.get("message", "")
    )
    with pytest.raises(UsageError, match="there are none"):
        text(View("x", {}, [], list), "junit")


def test_details_are_for_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    show(VIEW, "table")
    once = capsys.readouterr().out.count("a_1")
    show(detailed(VIEW), "table")
    assert (once, capsys.readouterr().out.count("a_1")) == (1, 2)
    assert detailed(VIEW).lines == ["a line", "why"]


def test_hidden_columns_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    columns = ["layer", "states", "min", "median", "max"]
    rows = [["encoder/layers_0", "32", "0.0001", "0.0002", "0.0003"]]
    write_table(Sheet(columns, rows, drop=(3, 4), names={3: "LAST median", 4: "LAST max"}))
    shown = out.getvalue()
    assert "median" not in shown.splitlines()[1] and "hidden in this width: LAST median" in shown


class Outside(HTMLParser):
    """Collects what a page would load, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset", "action")]


def report(name: str = "s5-listops") -> SweepReport:
    source = last.load(S5).source
    points = [
        SweepPoint(c, r, 0, int(128 * (1 - r)), 0.6 - r, 0.01, 1.0, r, 0.01) for c in ("last", name) for r in (0, 0.5)
    ]
    task = {"name": name, "version": 1, "split": "val", "length": 65}
    base = Unpruned(0.6, 0.01, 1.0, 128, 2000, "cpu", "accuracy")
    return SweepReport(source, "s5", task, base, points, means_of(points), {}, {}, notes=[name], doubts=[name])


def test_the_report_of_a_sweep_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_files(report(NAME), tmp_path)
    assert [path.name for path in written] == ["sweep.csv", "sweep.json", "report.html", "sweep.svg", "sweep.png"]
    page = (tmp_path / "report.html").read_text()
    found = Outside()
    found.feed(page)
    assert found.tags.count("table") == 1 and found.tags.count("img") == 1 and "script" not in found.tags
    assert [load.partition(",")[0] for load in found.loads] == ["data:image/svg+xml;base64"]
    assert not re.search(r"url\(|@import|<link|<iframe", page)
    assert html_text(page).count(NAME) == 0 and "&lt;script src=" in page
    (first, *_) = csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines())
    assert first.keys() == json.loads((tmp_path / "sweep.json").read_text())["points"][0].keys()


def test_the_legend_is_outside_the_axes_and_what_is_not_pruned_one_point() -> None:
    pytest.importorskip("matplotlib")
    drawn = io.BytesIO()
    draw_sweep(report(), drawn)
    (whole,) = ElementTree.fromstring(drawn.getvalue()).iterfind("{*}g")
    assert {"axes_1", "legend_1"} <= {part.get("id") for part in whole}
    assert _xy(report(), report().means[:2], 1.0, 0.7)[0] == [0, 50.7]


def html_text(page: str) -> str:
    """What stands in the page as it is, without its picture."""
    return re.sub(r'src="data:[^"]*"', "", page)


def test_a_figure_is_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(out: Path | io.BytesIO) -> None:
        assert isinstance(out, io.BytesIO)
        out.write(b"<svg/>")

    view = View("t", {}, [SHEET], list, draw=draw)
    monkeypatch.setattr("last_cli.display.figures.figure.available", lambda: True)
    assert '<img alt="t" style="" src="data:image/svg+xml;base64,PHN2Zy8+">' in text(view, "html")
    monkeypatch.setattr("last_cli.display.figures.figure.available", lambda: False)
    assert "<img" not in text(view, "html")


def test_a_page_names_its_columns_and_its_checkpoint_and_draws_its_bars() -> None:
    sheet = Sheet(["layer", "", "H∞ min", "max"], [["a", "██░░", "-1 ± 2 ", "2"]], names={1: "bars", 3: "H∞ max"})
    page = text(View("t", {"checkpoint": {"path": "<c>", "digest": "sha256:1"}}, [sheet], list), "html")
    assert "<th>H∞ max</th>" in page and "bars" not in page and "█" not in page
    assert '<div class="bar"><div style="width: 50%"></div></div>' in page
    assert "<td>-1 ± 2 </td>" in page and "white-space: pre" in page  # what is right-aligned stays below its like
    assert "&lt;c&gt;, sha256:1</footer>" in page


def test_a_wide_figure_stays_legible_on_a_narrow_page() -> None:
    def draw(out: Path | io.BytesIO) -> None:
        assert isinstance(out, io.BytesIO)
        out.write(b'<svg height="1pt" width="400.5pt"/>')

    assert 'class="scroll"><img alt="t" style="min-width: 300pt"' in figure(draw, "t")


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_a_report_is_the_same_in_a_file(run: Run, tmp_path: Path, ending: str) -> None:
    if ending == ".xml":
        assert "expected a name that ends with" in fails(run, "list", "-o", "x.xml")[0]
        return
    form: Any = ENDINGS[ending]
    code, out, err = run("list", "tasks", "-o", f"r{ending}")
    assert code == 0 and "digits" in out and f"wrote r{ending}" in err
    assert (tmp_path / f"r{ending}").read_text() == run("list", "tasks", "--format", form)[1]


def test_a_report_that_cannot_be_is_refused_before_the_work(run: Run) -> None:
    assert "no directory" in fails(run, "list", "-o", "nowhere/r.html")[0]
    with pytest.raises(UsageError, match="ends with one of"):
        form_of(Path("x.docx"), ["json"])
