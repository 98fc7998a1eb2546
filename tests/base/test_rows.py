"""Splits that stay on disk, and what reading them holds in memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cases import SAMPLES

import last_cli as last
from last_cli.base.cache import cached_rows
from last_cli.base.rows import Rows, Stored, blocks, stored_in
from last_cli.evaluation import measure as measuring
from last_cli.evaluation.evaluate import Request, follow_task, measure
from last_cli.evaluation.program import Program
from last_cli.tasks.arrays import file_task

ARRAY = np.random.default_rng(0).integers(0, 99, (7, 5, 3))


@pytest.fixture
def rows() -> Rows:
    return Rows.of(ARRAY, lambda part: (part / 2).astype(np.float32)).head(6)


@pytest.mark.parametrize(
    "index",
    [2, -1, slice(1, 4), slice(9, 9), np.array([5, 0, 0]), np.array([[1], [2]]), (2, 3), (slice(None), 1), (..., 0)],
    ids=str,
)
def test_rows_are_indexed_as_an_array_is(rows: Rows, index: object) -> None:
    whole = (ARRAY[:6] / 2).astype(np.float32)
    found = rows[index]
    np.testing.assert_array_equal(found, whole[index])  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert found.dtype == rows.dtype == np.float32


def test_rows_look_like_an_array(rows: Rows) -> None:
    assert (rows.shape, rows.ndim, len(rows)) == ((6, 5, 3), 3, 6)
    assert [row.tolist() for row in rows] == np.asarray(rows).tolist()
    np.testing.assert_array_equal(rows.head(2), rows[:2])
    assert len(rows.head(9)) == 6
    with pytest.raises(IndexError):
        rows[6]


@pytest.mark.parametrize("array", [ARRAY, ARRAY[0, 0, 0], np.zeros((0, 4)), np.arange(9, dtype=">i2")], ids=str)
def test_a_stored_array_is_read_where_it_lies(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", other=np.arange(3), x=array)
    stored = stored_in(tmp_path / "a.npz", "x")
    assert stored is not None and stored.shape == array.shape and stored.dtype == array.dtype
    (tmp_path / "a.npz").unlink()
    np.testing.assert_array_equal(stored[...], array)
    if array.ndim:
        for part in (slice(2), slice(1, 3), slice(None, None, 2), slice(4, 2), slice(-2, None), slice(99)):
            np.testing.assert_array_equal(stored[part], array[part])


def test_what_cannot_be_read_by_rows_is_not_stored(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=ARRAY)
    assert stored_in(tmp_path / "a.npz", "x") is None
    np.savez(tmp_path / "b.npz", x=np.asfortranarray(ARRAY))
    assert stored_in(tmp_path / "b.npz", "x") is None


def test_blocks_join_to_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("last_cli.base.rows.BLOCK", 2 * ARRAY[0].nbytes)
    parts = list(blocks(ARRAY))
    assert len(parts) == 4
    np.testing.assert_array_equal(np.concatenate(parts), ARRAY)


def peak(work: object) -> int:
    """Bytes that arrays and objects took at most."""
    tracemalloc.start()
    try:
        work()  # pyright: ignore[reportCallIssue]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_evaluating_takes_no_more_memory_for_a_larger_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ck = last.load(SAMPLES / "s5-digits")

    def answer(x: np.ndarray, lengths: np.ndarray) -> object:
        return lambda: np.repeat(x.mean(axis=(1, 2))[:, None], 10, axis=1)

    program = Program(answer, 32, 4, 0.0, 0)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(measuring, "_program", lambda *_: program)

    def evaluate(n: int) -> int:
        path = tmp_path / f"{n}.npz"
        np.savez(path, x=np.ones((n, 4096, 1)), y=np.arange(n) % 10)
        return peak(lambda: _evaluate(path))

    def _evaluate(path: Path) -> None:
        split = file_task(str(path)).load("test")
        assert measure(follow_task(ck, split), split, Request(str(path))).losses.mean() == -1

    evaluate(32)
    small, large = evaluate(200), evaluate(1000)
    assert large - small < 1e6 < (1000 - 200) * 4096 * 4


def test_a_cached_split_stays_on_disk(cache: Path) -> None:
    def images() -> dict[str, np.ndarray]:
        return {"images": np.full((500, 128, 128), 3, np.uint8), "labels": np.arange(500)}

    def load() -> None:
        entry = cached_rows("images", {"a": 1}, "images", images)
        assert isinstance(entry["images"], Stored)
        rows = Rows.of(entry["images"], lambda part: part.reshape(len(part), -1, 1).astype(np.float32))
        assert sum(int(rows[first : first + 4].sum()) for first in range(0, 500, 4)) == 3 * 500 * 128 * 128

    load()
    assert peak(load) < 6e6 < 500 * 128 * 128
