"""Texts and tokens as windows, cut as lm-eval cuts them; nothing that is no sequence of tokens is taken for one."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from last_cli.base.errors import DataError, UsageError
from last_cli.tasks.find import find
from last_cli.tasks.language import windows
from last_cli.tasks.task import Split

X = np.array([[5, 3, 8, 1, 9, 2, 4], [7, 7, 6, -1, -1, -1, -1], [2, 0, 1, 4, 3, -1, -1]])
LENGTHS = [7, 3, 5]


def write(path: Path, **arrays: Any) -> str:
    np.savez(path / "t.npz", **arrays)
    return str(path / "t.npz")


def predicted(split: Split) -> list[list[tuple[list[int], int]]]:
    """For each window its predictions that count: the tokens before, and the token."""
    lengths = np.full(len(split.y), split.length) if split.lengths is None else split.lengths
    return [
        [(row[:k].tolist(), int(row[k])) for k in range(1 + int(skip), int(length))]
        for row, skip, length in zip(split.x[:], split.y, lengths, strict=True)
    ]


def rolling(tokens: list[int], first: int, window: int, stride: int) -> list[tuple[list[int], list[int]]]:
    """What lm-eval reads and predicts (lm_eval.utils.get_rolling_token_windows, context_len = window - stride + 1)."""
    start = min(window, len(tokens))
    found = [([first, *tokens[: start - 1]], tokens[:start])]
    done = start
    while done < len(tokens):
        many = min(len(tokens) - done, stride)
        end = done + many
        found.append((tokens[end - window - 1 : end - 1], tokens[end - many : end]))
        done += many
    return found


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (4, 4), (4, 3), (5, 1), (64, 64)])
def test_windows_are_those_of_lm_eval(window: int, stride: int) -> None:
    for count in (1, 3, 4, 5, 23):
        tokens = list(range(10, 10 + count))
        found, whole = windows(np.array([count + 1]), window, stride), [9, *tokens]
        parts = zip(found.starts, found.stops, found.skips, strict=True)
        cut = [(whole[start : stop - 1], whole[start + 1 + skip : stop]) for start, stop, skip in parts]
        assert cut == rolling(tokens, 9, window, stride)
        assert found.counted.sum() == count


def test_a_row_is_a_sequence_and_padding_is_never_read(tmp_path: Path) -> None:
    split = find(write(tmp_path, x=X, lengths=LENGTHS)).load()
    assert (split.asks, split.source, split.length, split.width) == ("tokens", "arrays", 7, 10)
    assert split.lengths is not None and split.lengths.tolist() == LENGTHS
    assert split.weights is not None and split.weights.tolist() == [6, 2, 4]
    assert predicted(split)[1] == [([7], 7), ([7, 7], 6)]
    assert split.x[:].min() == 0 and split.said["window"] == split.said["stride"] == 2048
    assert split.said["digests"]["text"] is None is split.said["digests"]["tokenizer"]
    assert split.said["digests"]["tokens"].startswith("sha256:")


def test_rows_longer_than_the_window_are_cut_and_every_prediction_counts_once(tmp_path: Path) -> None:
    split = find(write(tmp_path, x=X.astype(np.int16), lengths=LENGTHS)).load(settings={"window": 4, "stride": 3})
    found = predicted(split)
    assert [len(part) for part in found] == [4, 2, 2, 4]
    assert found[1] == [([8, 1, 9], 2), ([8, 1, 9, 2], 4)]
    assert [token for part in found for _, token in part] == [3, 8, 1, 9, 2, 4, 7, 6, 0, 1, 4, 3]
    whole = find(write(tmp_path, x=X[:1])).load(settings={"window": 6})
    assert len(whole.x) == 1 and whole.lengths is None
    assert len(find(write(tmp_path, x=X[:1])).load(settings={"window": 5}).x) == 2


def test_a_compressed_file_is_read_as_well(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "t.npz", x=np.abs(X))
    assert find(str(tmp_path / "t.npz")).load(limit=1).x[:].tolist() == X[:1].tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "expected tokens from 0 to 2147483647, found -1 to 9"),
        ({"x": [[1, 2**40]]}, "expected tokens from 0 to 2147483647, found 0 to 1099511627776"),
        (
            {"x": [[1.0, 2.0]]},
            r"expected x to be tokens, .* found float64 of shape \(1, 2\); features need",
        ),
        ({"x": [1, 2]}, r"found int64 of shape \(2,\)"),
        ({"x": [[[1, 2]]]}, r"found int64 of shape \(1, 1, 2\)"),
        ({"x": np.zeros((0, 4), int)}, r"found int64 of shape \(0, 4\)"),
        ({"x": [[True, False]]}, "found bool"),
        ({"x": [["a"]]}, "found <U1"),
        ({"x": [[{}]]}, r"cannot read .*t\.npz"),
        ({"x": [[1], [2]]}, "no row of x has a second token"),
        ({"x": [[1, 2]], "lengths": [3]}, "expected lengths from 1 to 2, found 3 to 3"),
        ({"x": [[1, 2]], "lengths": [0]}, "expected lengths from 1 to 2, found 0 to 0"),
        ({"x": [[1, 2]], "lengths": [1.0]}, "expected lengths to be whole numbers of shape .* found float64"),
        ({"x": [[1, 2]], "lengths": [1, 1]}, r"found int64 of shape \(2,\)"),
    ],
)
def test_what_is_no_tokens_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    name = write(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        find(name).load()
    assert "t.npz" in caught.value.message and caught.value.hint


def test_a_file_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (10**9, 10**9)})
        file.write(bytes(64))
    with pytest.raises(DataError, match=r"x\.npy claims the shape \(1000000000, 1000000000\)"):
        find(str(tmp_path / "t.npz")).load()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.npz", "a.txt"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="a pipe, expected a file"):
            find(str(tmp_path / name)).load(model=tmp_path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"split": "val"}, "holds one split"),
        ({"data_dir": "."}, "reads no data directory"),
        ({"settings": {"window": 0}}, "window is 0, expected at least 1 token"),
        ({"settings": {"stride": 0}}, "stride is 0, expected"),
        ({"settings": {"window": 3, "stride": 4}}, "stride is 4 and window 3: tokens between"),
    ],
)
def test_options_of_no_sense(tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find(write(tmp_path, x=np.abs(X))).load(**asked)
