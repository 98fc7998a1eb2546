"""Several checkpoints and their seeds on the same sequences."""

from __future__ import annotations

import io

import numpy as np
import pytest
from commands import Run, data, fails
from random_networks import digits

import last_cli as last
from last_cli.base.errors import UsageError
from last_cli.results.compare import CompareReport


@pytest.fixture(scope="module")
def report() -> CompareReport:
    ck = digits()
    models = [ck, *(last.prune(ck, 0.6, "random", seed=seed, masked=True) for seed in (1, 2))]
    return last.compare(*models, names=["dense", "small", "small"], task="digits", limit=60)


def test_each_is_compared_with_the_first(report: CompareReport) -> None:
    dense, *small = report.points
    assert (dense.difference, dense.difference_stderr) == (0, 0)
    for point in small:
        assert point.difference == pytest.approx(point.value - dense.value)
        assert point.states < dense.states
    assert [point.name for point in report.points] == ["dense", "small", "small"]


def test_seeds_of_one_model_are_one_mean(report: CompareReport) -> None:
    dense, small = report.means
    values = [point.value for point in report.points[1:]]
    within = np.mean([point.stderr**2 for point in report.points[1:]])
    assert (dense.seeds, small.seeds) == (1, 2)
    assert small.value == pytest.approx(np.mean(values))
    assert small.stderr == pytest.approx(np.sqrt(within + np.var(values, ddof=1) / 2))
    assert dense.stderr == report.points[0].stderr


def test_table_and_figure_have_a_row_per_model(report: CompareReport) -> None:
    pytest.importorskip("matplotlib")
    from last_cli.display.compare import compare_view
    from last_cli.display.forms import text

    view = compare_view(report)
    assert [row[:2] for row in view.sheets[0].rows] == [["dense", "1"], ["small", "2"]]
    assert view.sheets[0].columns[:3] == ["model", "seeds", "states"]
    assert len(text(view, "csv").splitlines()) == 4
    drawn = io.BytesIO()
    assert view.draw is not None
    view.draw(drawn)
    svg = drawn.getvalue().decode()
    assert "<!-- small (2 seeds) -->" in svg and "n = 60 -->" in svg and "bars: ± 1 standard error" in svg


def test_what_makes_no_comparison_is_refused() -> None:
    with pytest.raises(UsageError, match="1 checkpoints are given, expected two or more"):
        last.compare(digits())
    with pytest.raises(UsageError, match="has 1 entries for 2 checkpoints"):
        last.compare(digits(), digits(), names=["one"])


def test_the_command_takes_seeds_by_the_name_of_their_model(run: Run) -> None:
    path = digits().source.path
    found = data(run, "compare", path, f"twice={path},{path}", "--limit", "20", "--plot", "c.svg")
    assert [(mean["seeds"], mean["difference"]) for mean in found["means"]] == [(1, 0), (2, 0)]
    assert found["schema"] == "last.compare/1" and found["n"] == 20
    assert "nowhere: no such file" in fails(run, "compare", path, "x=nowhere")[0]
