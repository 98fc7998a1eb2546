"""Figures: what is drawn, and in which colours."""

from __future__ import annotations

import io

import pytest
from commands import S5

import last_cli as last
from last_cli.display.figures.figure import COLOURS, GREY
from last_cli.display.figures.sweep import _aside, _marks

pytest.importorskip("matplotlib")


def test_chance_alone_is_grey() -> None:
    names = ["last", "aire", "reconstruct", "hinf", "random", "gn", "energy"]
    marks = _marks(names)
    assert [name for name, (colour, *_) in marks.items() if colour == GREY] == ["random"]
    assert len({colour for colour, *_ in marks.values()}) == len(names) and GREY not in COLOURS


def test_more_recipes_than_colours_are_told_apart_by_their_lines() -> None:
    names = [f"{target}: fisher" for target in range(2 * len(COLOURS))]
    assert len({str(mark) for mark in _marks(names).values()}) == len(names)


def test_error_bars_stand_side_by_side() -> None:
    aside = _aside([0.0, 0.1, 0.2, 0.4], 4)
    assert aside == sorted(aside) and len(set(aside)) == 4 and sum(aside) == pytest.approx(0)
    assert aside[-1] - aside[0] < 5  # of ten percent between two ratios
    assert _aside([0.0, 0.3, 0.6], 3)[-1] < 2  # and beside their place where there is room for more


def test_every_layer_has_a_circle_and_the_title_says_of_what() -> None:
    from last_cli.display.figures.scores import draw_scores

    drawn = io.BytesIO()
    report = last.score(S5, ratio=0.33)
    draw_scores(report, drawn)
    svg = drawn.getvalue().decode()
    assert [svg.count(f"<!-- layers_{i} -->") for i in range(4)] == [2, 2, 2, 2]  # a disc and a bar
    digest = report.checkpoint.digest.removeprefix("sha256:")[:8]
    assert f"<!-- s5-listops ({digest}): discretised poles, n = 128 states -->" in svg
    assert "circle: |λ| = 1" in svg
