"""Gates in CI: what GitHub and JUnit are told."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import DIGITS, S5, Run, data, fails

import last_cli as last
from last_cli.base.errors import AnswerIsNo

EVAL = ("eval", S5, "--task", "listops", "--limit", "20")


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """A checkpoint that `last` wrote, and somebody changed."""
    last.save(last.prune(S5, 0.3), tmp_path / "small")
    stamp = tmp_path / "small" / "last.json"
    stamp.write_text(stamp.read_text().replace('"ratio": 0.3', '"ratio": 0.4'))
    return tmp_path / "small"


def test_a_gate_that_fails_is_annotated_with_its_checkpoint(run: Run, github: None) -> None:
    code, _, err = run(*EVAL, "--min-accuracy", "99", "-q")
    failed = [line for line in err.splitlines() if "gate failed" in line]
    assert code == 1 and len(failed) == 2
    assert failed[0].startswith("error: s5-listops: gate failed: accuracy ")
    assert failed[0].endswith("% < 99.00% (--min-accuracy)")
    assert failed[1] == failed[0].replace("error: ", "::error::").replace("%", "%25")
    assert "::error::" not in run(*EVAL, "--min-accuracy", "0.01")[2]


def test_a_check_that_fails_is_annotated_with_its_checkpoint(run: Run, github: None, pruned: Path) -> None:
    code, _, err = run("verify", pruned)
    assert code == 1 and "::error::small: stamp as written: " in err
    assert "error: verification failed: 1 of 3 checks" in err


def test_a_budget_that_no_ratio_meets_is_annotated(run: Run, github: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object, **__: object) -> None:
        raise AnswerIsNo("no ratio stays within the budget of 0.5 points", "take more")

    monkeypatch.setattr(last, "prune", no)
    code, _, err = run("prune", S5, "--max-drop", "0.5", "-n", "-q")
    assert code == 1 and "::error::s5-listops: no ratio stays within the budget of 0.5 points\n" in err


def test_a_difference_is_annotated(run: Run, github: None) -> None:
    code, _, err = run("diff", S5, DIGITS, "-q")
    assert (code, err) == (1, "::error::s5-listops and s5-digits differ\n")
    assert run("diff", S5, S5, "-q")[2] == ""


def test_without_github_nothing_is_annotated(run: Run, monkeypatch: pytest.MonkeyPatch, pruned: Path) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert "::error::" not in run("verify", pruned)[2]


def test_junit_reads_checks(run: Run, pruned: Path) -> None:
    code, out, _ = run("verify", pruned, "--format", "junit", "-o", "checks.xml")
    suite = ElementTree.fromstring(out)[0]
    assert code == 1 and (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert Path("checks.xml").read_text() == out
    (failure,) = suite.iter("failure")  # Some readers show the attribute, others the text.
    assert (failure.text or "").startswith("small: stamp as written: ") and failure.text == failure.get("message")
    assert ElementTree.fromstring(run("diff", S5, S5, "--format", "junit")[1])[0].get("failures") == "0"


def test_junit_without_gates_is_refused_before_the_work(run: Run) -> None:
    assert "shows gates, and there are none" in fails(run, *EVAL, "--format", "junit")[0]
    assert "shows gates, and there are none" in fails(run, *EVAL, "-o", "gates.xml")[0]
    assert data(run, "list", "tasks")["kind"] == "tasks"
