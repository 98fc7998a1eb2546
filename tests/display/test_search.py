"""How the choice of a ratio is told."""

from __future__ import annotations

from last_cli.display.search import in_words, search_lines
from last_cli.results.search import Search, SearchPoint

POINTS = [SearchPoint(0.5, 0.03, 0.004, False), SearchPoint(0.25, 0.0045, 0.002, True)]


def test_a_drop_is_told_in_points() -> None:
    search = Search("max_drop", 0.5, False, {"task": "digits", "split": "val"}, 0.01, POINTS, 0.25)
    assert search_lines(search) == [
        "ratio 0.25: drop 0.45 ± 0.20 points, budget 0.5, measured on task digits, split val",
        "the largest of 2 measured ratios (value within the budget; resolution 0.01): 0.25 +0.45, 0.5 +3.00 ✗",
        "chosen on these very sequences, it may cost more on others: judge it on the test split",
    ]


def test_an_error_is_told_as_it_is() -> None:
    search = Search("max_error", 0.01, True, {"random": "tokens"}, 0.01, POINTS, 0.25)
    assert in_words(search, POINTS[0]) == "relative squared error of the logits 0.03 ± 0.004"
    assert search_lines(search)[1:] == [
        "the largest of 2 measured ratios (value + standard error within the budget; resolution 0.01): "
        "0.25 0.0045, 0.5 0.03 ✗",
    ]
