"""Calibration files that are none: two lines, exit code 2, and never a wait."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from commands import Run, fails
from random_layers import classifier, write

from last_cli.base.errors import DataError
from last_cli.pruning.calibration.request import from_file

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
        ({"x": X, "lengths": np.array([1, np.nan, 2])}, "lengths are nan"),
    ],
)
def test_arrays_that_are_no_sequences(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "c.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=said):
        from_file(tmp_path / "c.npz")
