"""How the choice of a ratio is told."""

from __future__ import annotations

from last_cli.display.search import in_words, search_details, search_lines, search_sheet
from last_cli.display.words import task_in_words
from last_cli.results.search import Search, SearchPoint
from last_cli.tasks.find import split_of

POINTS = [SearchPoint(0.5, 0.03, 0.004, None, False), SearchPoint(0.25, 0.0045, 0.002, None, True)]


def test_a_drop_is_told_in_points() -> None:
    on = {"task": "digits", "split": "val", "sequences": 360}
    search = Search("max_drop", 0.5, "estimate", on, 0.01, POINTS, 0.25)
    assert search_lines(search) == [
        "ratio 0.25: drop 0.45 ± 0.20 points; budget 0.5",
        "measured on 360 sequences of digits, val split",
        "selected on the validation split; check the drop on the test split",
    ]
    sheet = search_sheet(search)
    assert sheet.columns == ["ratio", "drop", "±", "within"]
    assert sheet.rows == [["0.25", "+0.45", "0.20", "yes"], ["0.5", "+3.00", "0.40", "no"]]
    assert search_details(search) == [
        "the largest of 2 measured ratios whose estimate is within the budget, in steps of 0.01"
    ]


def test_an_upper_limit_is_told_where_it_decided() -> None:
    points = [SearchPoint(0.5, 0.03, 0.004, 0.037, False), SearchPoint(0.25, 0.0045, 0.002, 0.0049, True)]
    search = Search("max_drop", 0.5, "upper limit", {"task": "digits", "split": "val"}, 0.01, points, 0.25)
    assert search_lines(search)[0] == "ratio 0.25: drop 0.45 ± 0.20 points, at most 0.49; budget 0.5"
    assert search_sheet(search).rows[0] == ["0.25", "+0.45", "0.20", "0.49", "yes"]
    assert len(search_lines(search)) == 2


def test_an_error_is_told_as_it_is() -> None:
    on = {"random": "tokens", "length": 65, "seed": 0, "sequences": 256, "statistics": "first batch norm"}
    search = Search("max_error", 0.01, "estimate + standard error", on, 0.01, POINTS, 0.25)
    assert in_words(search, POINTS[0]) == "relative squared error of the logits 0.03 ± 0.004"
    assert search_lines(search)[1] == (
        "measured on 256 synthetic sequences (length 65, token frequencies from the first batch norm, seed 0)"
    )
    assert search_sheet(search).rows == [["0.25", "0.0045", "0.002", "yes"], ["0.5", "0.03", "0.004", "no"]]


def test_a_file_is_no_split() -> None:
    search = Search("max_drop", 0.5, "upper limit", {"task": "mine.npz", "split": "file"}, 0.01, POINTS, 0.25)
    assert search_lines(search)[1] == "measured on sequences of mine.npz"
    said = {"version": 1, "split": split_of("mine.npz", "test"), "name": "mine.npz"}
    assert task_in_words(said) == "the file mine.npz"
    assert task_in_words({**said, "name": "digits", "split": split_of("digits", "test")}) == "digits v1, test split"
