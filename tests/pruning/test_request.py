"""Which sequences units are observed on: of a task, of a file, never of the test split."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cases import SAMPLES
from commands import Run, fails
from random_layers import classifier, write
from random_networks import shared

import last_cli as last
from last_cli.base.errors import DataError, UsageError
from last_cli.pruning.calibration.observe import observe
from last_cli.pruning.calibration.request import Calibration, Draw, from_file, from_task
from last_cli.pruning.recipe import Recipe


def test_the_test_split_never_calibrates() -> None:
    with pytest.raises(UsageError, match="test split"):
        from_task(shared(), "digits", 8, split="test")
    found = from_task(shared(), "digits", 1000)
    assert found.source["sequences"] == found.source["of"] == 200


def test_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no calibration"):
        from_file(tmp_path / "none.npz")
    np.savez(tmp_path / "flat.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="shape"):
        from_file(tmp_path / "flat.npz")
    np.savez(tmp_path / "long.npz", x=np.arange(12).reshape(4, 3), lengths=np.array([3, 4, 2, 1]))
    with pytest.raises(DataError, match="lengths are 1 to 4, expected 1 to 3"):
        from_file(tmp_path / "long.npz")
    np.savez(tmp_path / "good.npz", x=np.arange(12).reshape(4, 3), lengths=np.array([3, 3, 2, 1]))
    found = from_file(tmp_path / "good.npz", 2)
    assert found.x.shape == (2, 3) and found.lengths is not None and found.lengths.dtype == np.int32


def test_sequences_that_are_skipped_are_those_that_were_drawn_first() -> None:
    ck = last.load(SAMPLES / "s5-digits")
    everything = {image.tobytes() for image in from_task(ck, "digits", 200).x}
    first, rest = from_task(ck, "digits", 150), from_task(ck, "digits", 150, Draw(skip=150))
    assert (len(first.x), len(rest.x), rest.source["skipped"]) == (150, 50, 150)
    assert {image.tobytes() for image in (*first.x, *rest.x)} == everything
    assert len(from_task(ck, "digits", 150, Draw(skip=200)).x) == 150


def test_what_is_asked_for_is_read_and_nothing_else() -> None:
    ck, draw = shared(), Draw()
    assert Calibration().read(ck, draw) is None and Calibration().inputs(ck, draw) is None
    found = Calibration(calibration=5, task="digits").read(ck, draw)
    assert found is not None and found.source == {"task": "digits", "split": "val"} | {
        "seed": 0,
        "sequences": 5,
        "of": 200,
    }
    assert Calibration(calibration=5, data_dir="x").options == ["⟦calibration⟧", "⟦data_dir⟧"]
    for asked, message in (
        (Calibration(calibration=5), "not of what"),
        (Calibration(data_dir="x"), "not of what"),
        (Calibration(task="digits", calibration_file="x.npz"), "calibration_file and task are both given"),
    ):
        with pytest.raises(UsageError, match=message):
            asked.read(ck, draw)


X = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + b"\0" * 60, b"\x93NUMPY\x01\x00", b"text"])
def test_empty_and_cut_files(run: Run, tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "ckpt", classifier(blocks=1))
    (tmp_path / "c.npz").write_bytes(content)
    error, hint = fails(run, "score", "ckpt", "--criterion", "gn", "--calibration-file", "c.npz")
    assert "c.npz: no calibration sequences can be read: " in error and "np.savez" in hint


def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.npz")
    with pytest.raises(DataError, match="a pipe, expected a file"):
        from_file(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y": X}, "x is not a file"),
        ({"x": np.array([["a", "b"]])}, "x is <U1"),
        ({"x": np.zeros((2, 3, 4), "M8[s]")}, "x is datetime64"),
        ({"x": np.ones((2, 3, 4), complex)}, "x is complex128"),
        ({"x": X + 2**40}, "more than any vocabulary"),
        ({"x": np.full((2, 3, 4), 1e300)}, "not finite, as float32"),
        ({"x": X, "lengths": np.array(["a", "b", "c"])}, "lengths"),
        ({"x": X, "lengths": np.array([1, np.nan, 2])}, "lengths has numbers such as nan"),
        ({"x": X, "lengths": np.array([1, 2.5, 2])}, "lengths has numbers such as 2.5, expected whole ones"),
    ],
)
def test_arrays_that_are_no_sequences(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "c.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=said):
        from_file(tmp_path / "c.npz")


def test_a_length_makes_sequences_where_none_is_known() -> None:
    ck = shared()
    assert Calibration().inputs(ck, Draw()) is None
    made = Calibration(length=12).inputs(ck, Draw())
    assert made is not None and made.length == 12 and made.source["length"] == 12
    white = observe(ck, Recipe(method="reconstruct"))
    assert white.inputs is None and "⟦length 64⟧ makes sequences" in white.warnings[0]
    assert observe(ck, Recipe(method="reconstruct"), Calibration(length=12)).inputs is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Calibration(length=0), "length is 0"),
        (Calibration(8, length=12), "made without data, but calibration names some"),
        (Calibration(calibration_file="x.npz", length=12), "calibration_file names some"),
    ],
)
def test_a_length_is_that_of_made_sequences(given: Calibration, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        given.inputs(shared(), Draw())


def test_what_takes_no_sequences_takes_no_length() -> None:
    with pytest.raises(UsageError, match="length names sequences to measure on"):
        last.prune(shared(), 0.5, length=12)
