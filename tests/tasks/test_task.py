"""What every task is spared: it reads a whole split; `load` checks what is asked for and takes the first sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from last_cli.base.errors import UsageError
from last_cli.base.rows import Rows
from last_cli.tasks.task import Query, Split, Task, take_turns, whole_number

QUERIES: list[Query] = []


def read(query: Query) -> Split:
    """Five sequences, the last ones padded, and one after the other read."""
    QUERIES.append(query)
    query.advance(5, 5)
    x = np.arange(20, dtype=np.int32).reshape(5, 4)
    return Split(Rows.of(x, lambda rows: rows), np.arange(5), np.arange(5), "files", 5, 4, ("a",), "five sequences")


MINE = Task("mine", 1, "five sequences", read)


def test_the_test_split_is_asked_for_with_the_tasks_defaults() -> None:
    split = MINE.load()
    assert len(split.x) == len(split.y) == 5 and split.note == "five sequences"
    query = QUERIES[-1]
    assert (query.task, query.split, query.data_dir, query.settings) == ("mine", "test", None, {})


def test_all_that_is_asked_for_arrives(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    MINE.load("val", data_dir=tmp_path, settings={"a": 1}, progress=lambda *call: calls.append(call))
    query = QUERIES[-1]
    assert (query.split, query.data_dir, query.settings) == ("val", tmp_path, {"a": 1})
    assert calls == [("load mine", 5, 5)]


@pytest.mark.parametrize("limit", [1, 4])
def test_a_limit_takes_the_first_and_says_so(limit: int) -> None:
    split = MINE.load(limit=limit)
    assert split.x[:].tolist() == np.arange(20).reshape(5, 4)[:limit].tolist()
    assert split.y.tolist() == list(range(limit)) and split.lengths is not None and len(split.lengths) == limit
    assert split.note == f"five sequences; only the first {limit} of 5 sequences are used"


@pytest.mark.parametrize("limit", [5, 6, None])
def test_a_limit_beyond_the_end_is_none(limit: int | None) -> None:
    assert len(MINE.load(limit=limit).x) == 5 and MINE.load(limit=limit).note == "five sequences"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"split": "dev"}, "task mine has no split 'dev'"),
        ({"limit": 0}, "limit is 0, expected a positive number"),
        ({"limit": -3}, "limit is -3"),
    ],
)
def test_nothing_is_read_for_what_makes_no_sense(asked: dict[str, Any], message: str) -> None:
    before = len(QUERIES)
    with pytest.raises(UsageError, match=message):
        MINE.load(**asked)
    assert len(QUERIES) == before


@pytest.mark.parametrize("value", [1, True, "7", 2.5, None])
def test_a_setting_that_is_no_whole_number(value: object) -> None:
    with pytest.raises(UsageError, match=r"task setting 'length' is .*, expected a whole number of at least 2"):
        whole_number({"length": value}, "length", 3, minimum=2)
    assert whole_number({}, "length", 3, minimum=2) == 3
    assert whole_number({"length": np.int64(5)}, "length", 3, minimum=2) == 5


def test_take_turns() -> None:
    assert take_turns(np.array([0, 0, 0, 0, 2, 2, 1])).tolist() == [0, 6, 4, 1, 5, 2, 3]
