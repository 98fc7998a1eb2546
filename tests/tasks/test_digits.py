import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from last_cli.base.errors import DataError, UsageError
from last_cli.tasks.digits import DIGITS
from last_cli.tasks.find import find


def test_registered() -> None:
    assert find("digits") is DIGITS


def test_splits_hold_every_digit_once() -> None:
    splits = [DIGITS.load(name) for name in ("train", "val", "test")]
    assert [split.x.shape for split in splits] == [(1297, 64, 1), (200, 64, 1), (300, 64, 1)]
    found = np.sort([row.tobytes() for split in splits for row in split.x])
    images = load_digits().images.astype(np.float32) / 16  # pyright: ignore[reportAttributeAccessIssue]
    assert found.tolist() == np.sort([image.tobytes() for image in images]).tolist()


def test_values() -> None:
    split = DIGITS.load()
    assert split.x.dtype == np.float32 and split.x[:].min() == 0 and split.x[:].max() == 1
    assert split.y.dtype == np.int32 and set(split.y.tolist()) == set(range(10))
    assert (split.source, split.classes, split.length) == ("bundled", 10, 64)
    assert split.lengths is None and split.vocabulary is None
    # Samples were trained on the other images: a change here needs a new version of the task.
    assert split.y[:8].tolist() == [0, 6, 3, 8, 1, 8, 4, 1]


def test_the_seed_chooses_the_split() -> None:
    np.testing.assert_array_equal(DIGITS.load().x, DIGITS.load(settings={"seed": 0}).x)
    assert (DIGITS.load().y != DIGITS.load(settings={"seed": 1}).y).any()


def test_limit() -> None:
    part = DIGITS.load(limit=5)
    np.testing.assert_array_equal(part.x, DIGITS.load().x[:5])
    assert part.lengths is None and part.note.endswith("only the first 5 of 300 sequences are used")


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="needs scikit-learn") as caught:
        DIGITS.load()
    assert "pip install scikit-learn" in caught.value.hint


@pytest.mark.parametrize(
    "arguments", [{"split": "dev"}, {"limit": -1}, {"data_dir": Path()}, {"settings": {"seed": "x"}}]
)
def test_errors(arguments: dict) -> None:
    with pytest.raises(UsageError):
        DIGITS.load(**arguments)
