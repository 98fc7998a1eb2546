"""A pole close to the unit circle, which takes a layer's tail share under criteria of an infinite time, is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Run, data
from random_layers import classifier, write

import last_cli as last

TASK = {"task": {"name": "mine", "length": 200}}
LAYER = ("params", "encoder", "layers_1", "seq")


def slow(path: Path, decay: float, stamp: dict | None = None) -> Path:
    """A checkpoint whose second layer has a state with 1 - |lambda| = decay."""
    arrays = classifier(states=8)
    step = np.exp(arrays[*LAYER, "log_step"][3, 0])
    arrays[*LAYER, "Lambda_re"][3] = -decay / step
    return write(path, arrays, TASK if stamp is None else stamp)


@pytest.mark.parametrize("criterion", ["last", "aire"])
def test_it_is_named_with_the_criteria_that_do_not_mind(tmp_path: Path, run: Run, criterion: str) -> None:
    ck = slow(tmp_path / "ckpt", 2e-7)
    (said,) = data(run, "score", ck, "--criterion", criterion)["warnings"]
    assert said.startswith(f"encoder/layers_1/seq: state 3 has more than 99% of the layer's {criterion} mass")
    assert "answers over 5,0" in said and "trained on 200" in said
    report = last.prune(ck, 0.5, criterion=criterion).report
    assert report is not None and [w.split(";")[0] for w in report.warnings] == [said.split(";")[0]]
    _, _, err = run("prune", ck, "--ratio", "0.5", "-n", "--criterion", criterion)
    assert "warning: encoder/layers_1/seq: state 3" in err
    assert "--criterion energy, --criterion gn and --method reconstruct are not affected" in err


def test_sweeps_and_budgets_name_it_too(tmp_path: Path) -> None:
    ck = slow(tmp_path / "ckpt", 2e-7)
    x = np.random.default_rng(0).standard_normal(
        (8, 40, last.load(ck).leaves["params", "encoder", "encoder", "kernel"].shape[0])
    )
    np.savez(tmp_path / "t.npz", x=x.astype(np.float32), y=np.arange(8) % 2)
    found = last.sweep(ck, str(tmp_path / "t.npz"), ratios=[0.2, 0.5], criteria=["last", "energy"], seeds=1).warnings
    assert sum("encoder/layers_1/seq: state 3 has more than 99%" in line for line in found) == 1
    np.savez(tmp_path / "x.npz", x=x.astype(np.float32))
    small = last.prune(ck, max_error=10.0, calibration_file=tmp_path / "x.npz", assume=True)
    assert small.report is not None and any("state 3 has more than 99%" in line for line in small.report.warnings)


def test_no_warning_where_none_is_due(tmp_path: Path) -> None:
    ck = slow(tmp_path / "ckpt", 2e-7)
    assert not last.score(ck, criterion="energy").warnings
    assert not last.score(ck, criterion="hinf").warnings
    ordinary = slow(tmp_path / "ordinary", 1e-2)
    assert not last.score(ordinary).warnings


def test_long_answers_alone(tmp_path: Path) -> None:
    """Whatever share the state has; without a trained length only what no sequence has is told."""
    arrays = classifier(states=8)
    step = np.exp(arrays[*LAYER, "log_step"][:, 0])
    arrays[*LAYER, "Lambda_re"][:] = -2e-7 / step  # all are slow, and none has it all
    (said,) = last.score(write(tmp_path / "a", arrays, TASK)).warnings
    assert "mass" not in said and "answers over 5,0" in said
    (said,) = last.score(write(tmp_path / "b", arrays, {})).warnings
    assert "more than any sequence has" in said
    arrays[*LAYER, "Lambda_re"][:] = -2e-5 / step
    assert last.score(write(tmp_path / "c", arrays, TASK)).warnings
    assert not last.score(write(tmp_path / "d", arrays, {})).warnings
