"""Numbers that no criterion and no method can work with are an error that names the layer."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from commands import Run, fails
from random_layers import KINDS, classifier, write

from last_cli.base.errors import CheckpointError
from last_cli.families.find import build_system
from last_cli.families.lti.config import ModelConfig
from last_cli.pruning.numerics import solvable


def huge(path: Path, name: str, number: float) -> Path:
    arrays = classifier(blocks=1)
    key = ("params", "encoder", "layers_0", "seq", name)
    arrays[key] = np.full(arrays[key].shape, number)
    return write(path, arrays)


@pytest.mark.parametrize("name", ["B", "C1"])
@pytest.mark.parametrize("command", [["score"], ["prune", "--ratio", "0.4", "-n"]])
def test_norms_beyond_double_precision(run: Run, tmp_path: Path, name: str, command: list[str]) -> None:
    error, _ = fails(run, *command, huge(tmp_path / "ckpt", name, 1e200))
    assert "encoder/layers_0/seq: state 0: its H-infinity norm, or its square, is more than double" in error


def test_what_is_no_number(run: Run, tmp_path: Path) -> None:
    error, _ = fails(run, "score", huge(tmp_path / "ckpt", "log_step", 1e200))
    assert "encoder/layers_0/seq: state 0" in error and "or no number (nan" in error


def test_what_does_not_converge(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fail)
    ck = write(tmp_path / "ckpt", classifier(blocks=1))
    error, hint = fails(run, "prune", ck, "--ratio", "0.4", "-n", "--method", "balanced")
    assert "encoder/layers_0/seq: its balanced form cannot be computed" in error and "by a criterion" in hint


@pytest.mark.parametrize("dtype", ["complex64", "int32", "uint8", "bool", ml_dtypes.int4])
def test_types_that_are_no_real_numbers(dtype: str) -> None:
    layer, arrays = KINDS["s5-two-directions"].layer()
    with pytest.raises(CheckpointError, match=r"seq: C1 is \w+, expected real numbers"):
        build_system(layer, arrays | {"C1": arrays["C1"].astype(dtype)}, ModelConfig())


def test_singular_matrices() -> None:
    with pytest.raises(CheckpointError, match=r"the refit of C cannot be computed from these numbers \(singular"):
        solvable("the refit of C")(lambda: np.linalg.inv(np.zeros((2, 2))))()
