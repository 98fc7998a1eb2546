from pathlib import Path
from typing import Any

import numpy as np
import pytest

import last_cli as last
from last_cli.base.errors import DataError, UsageError
from last_cli.tasks.arrays import load_arrays
from last_cli.tasks.find import find

SAMPLE = Path(__file__).parents[2] / "sample_checkpoints" / "s5-listops"
TOKENS = np.array([[1, 2, 3], [4, 5, 0]])


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_tokens(tmp_path: Path) -> None:
    split = load_arrays(write(tmp_path / "a.npz", x=TOKENS.astype(np.uint8), y=[0, 3], lengths=[3, 2]))
    assert split.tokens and split.x[:].tolist() == TOKENS.tolist() and split.y.tolist() == [0, 3]
    assert {a.dtype for a in (split.x, split.y, split.lengths) if a is not None} == {np.dtype(np.int32)}
    assert split.lengths is not None and split.lengths.tolist() == [3, 2]
    assert (split.source, split.classes, split.length, split.vocabulary) == ("arrays", 4, 3, None)
    assert str(tmp_path / "a.npz") in split.note


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1), (2, 5, 3)])
def test_features(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    split = load_arrays(write(tmp_path / "a.npz", x=x, y=np.array([1, 0], np.int8)))
    assert split.x.dtype == np.float32 and split.x.shape == (2, 5, shape[2] if len(shape) == 3 else 1)
    np.testing.assert_array_equal(split.x[:].ravel(), x.astype(np.float32).ravel())
    assert split.lengths is None and not split.tokens


def test_evaluating_a_file_equals_evaluating_its_task(tmp_path: Path) -> None:
    ck = last.load(SAMPLE)
    split = find("listops").load(settings=ck.stamp["task"], limit=40)
    path = write(tmp_path / "mine.npz", x=split.x, y=split.y, lengths=split.lengths)
    mine, named = last.evaluate(ck, str(path)), last.evaluate(ck, "listops", limit=40)
    np.testing.assert_array_equal(mine.measured.predicted, named.measured.predicted)
    np.testing.assert_allclose(mine.measured.losses, named.measured.losses, rtol=1e-5)
    assert mine.task["name"] == str(path) and mine.task["source"] == "arrays"


def test_more_classes_or_tokens_than_the_model_has(tmp_path: Path) -> None:
    ck = last.load(SAMPLE)
    with pytest.raises(DataError, match="the decoder has 10 classes but the task has 12"):
        last.evaluate(ck, str(write(tmp_path / "a.npz", x=TOKENS, y=[11, 0])))
    with pytest.raises(DataError, match="the encoder takes 20 inputs but the task has 21 tokens"):
        last.evaluate(ck, str(write(tmp_path / "a.npz", x=TOKENS * 4, y=[1, 0])))


def test_limit_and_options(tmp_path: Path) -> None:
    task = find(str(write(tmp_path / "a.npz", x=TOKENS, y=[1, 0])))
    assert task.load(limit=1).y.tolist() == [1]
    with pytest.raises(UsageError, match="holds one split, and 'val' is asked for"):
        task.load("val")
    with pytest.raises(UsageError, match="reads no data directory"):
        task.load(data_dir=tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": TOKENS}, "expected the arrays x and y, found x"),
        ({"y": [1, 0], "z": 1}, "expected the arrays x and y, found y, z"),
        ({"x": TOKENS, "y": [1]}, r"expected y to be whole numbers of shape \(2,\), found int64 of shape \(1,\)"),
        ({"x": TOKENS, "y": [1.0, 0]}, "expected y to be whole numbers .* found float64"),
        ({"x": TOKENS, "y": [1, -1]}, "expected y from 0 to 2147483647, found -1 to 1"),
        ({"x": -TOKENS, "y": [1, 0]}, "expected x from 0 to .*, found -5 to 0"),
        ({"x": TOKENS, "y": [1, 0], "lengths": [3, 4]}, "expected lengths from 1 to 3, found 3 to 4"),
        ({"x": TOKENS, "y": [1, 0], "lengths": [0, 1]}, "expected lengths from 1 to 3, found 0 to 1"),
        ({"x": TOKENS[0], "y": [1, 0]}, r"expected x to be .* found int64 of shape \(3,\)"),
        ({"x": TOKENS[..., None], "y": [1, 0]}, r"expected x to be .* found int64 of shape \(2, 3, 1\)"),
        ({"x": np.zeros((0, 3)), "y": []}, r"expected x to be .* found float64 of shape \(0, 3\)"),
        ({"x": np.array([["a"]]), "y": [0]}, r"expected x to be .* found <U1"),
        ({"x": np.array([[np.nan]]), "y": [0]}, "x has values that are not finite"),
        ({"x": np.array([[{}]], object), "y": [0]}, r"cannot read .*a\.npz"),
    ],
)
def test_damaged_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_arrays(write(tmp_path / "a.npz", **arrays))
    assert "a.npz" in caught.value.message and caught.value.hint


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4 no archive"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*a\.npz"):
        load_arrays(tmp_path / "a.npz")


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, TOKENS)
    with pytest.raises(DataError, match="expected an archive of arrays, found one array"):
        load_arrays(tmp_path / "a.npz")
    with pytest.raises(DataError, match="there is no file"):
        load_arrays(tmp_path / "b.npz")
