"""The real commands around pruning: verify, diff, masked output, refitted output."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import DIGITS, S4D, S5, Run, data, fails

import last_cli as last
from last_cli import formats
from last_cli.evaluation import inputs
from last_cli.pruning import needs
from last_cli.pruning import prune as reducing


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none are asked for."""
    for module in (needs, inputs, reducing):
        monkeypatch.setattr(module, "SEQUENCES", 20)


@pytest.mark.parametrize("sample", [S5, S4D])
def test_verify_passes_what_prune_wrote_and_fails_what_was_changed(run: Run, tmp_path: Path, sample: str) -> None:
    run("prune", sample, "--ratio", "0.3", "-o", "once")
    run("prune", "once", "--ratio", "0.3", "-o", "twice")
    for pruned, against in (("once", sample), ("twice", "once"), ("twice", sample)):
        report = data(run, "verify", pruned, "--against", against)
        assert report["passed"]
        assert len(report["checks"]) == 5
    ck = last.load("once")
    name, key = next(iter(ck.layers[0].leaves.items()))
    array = ck.read([key])[key].copy()
    array.flat[0] += 1e-3
    formats.save(tmp_path / "changed", source=ck.index, changed={key: array}, stamp=dict(ck.stamp))
    report = data(run, "verify", "changed", "--against", sample, code=1)
    assert [check["name"] for check in report["checks"] if not check["passed"]] == ["kept entries bit-equal"]
    assert name in report["checks"][1]["seen"]
    assert "no stamp of a pruning" in fails(run, "verify", sample, "--against", sample)[0]


def test_verify_knows_another_source_and_a_damaged_stamp(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.3")
    other = last.load(S5)
    key = other.layers[0].leaves["C1"]
    formats.save(tmp_path / "other", source=other.index, changed={key: other.read([key])[key] * 2}, stamp={})
    report = data(run, "verify", "pruned", "--against", "other", code=1)
    assert [check["passed"] for check in report["checks"][:2]] == [False, False]
    stamp = tmp_path / "pruned" / "last.json"
    stamp.write_text(stamp.read_text().replace('"kept": [', '"kept": [ 99,'))
    assert "the stamp does not fit" in fails(run, "verify", "pruned", "--against", S5)[0]


def test_diff_tells_what_changed(run: Run) -> None:
    run("prune", S5, "--ratio", "0.3")
    assert data(run, "diff", S5, S5)["same"]
    report = data(run, "diff", S5, "pruned", code=1)
    assert sum(layer["states"][1] for layer in report["layers"]) == 89
    assert report["leaves"] == []
    assert report["config"] == {}
    _, out, err = run("diff", S5, DIGITS)
    assert "parameters" in out
    assert "activation: half_glu2 and half_glu1" in err


def test_masked_output_evaluates_like_the_compact_one(run: Run) -> None:
    run("prune", S5, "--ratio", "0.3")
    masked = data(run, "prune", S5, "--ratio", "0.3", "--masked", "-o", "masked")
    assert masked["parameters"]["before"] == masked["parameters"]["after"]
    assert data(run, "verify", "masked", "--against", S5)["passed"]
    result = data(run, "eval", "masked", "--task", "listops", "--limit", "200", "--baseline", "pruned")
    assert result["baseline"]["agreement"] == 1


def test_reconstruct_keeps_more_than_the_criterion_at_a_high_ratio(run: Run) -> None:
    method = ["--method", "reconstruct", "--calibration", "24"]
    report = data(run, "prune", S4D, "--ratio", "0.7", *method, "-o", "refitted")
    assert report["method"] == "reconstruct"
    assert report["calibration"]["task"] == "listops"
    assert report["states"]["after"] == report["states"]["before"] * 30 // 100
    assert all(layer["calibration_relative"] < 0.5 for layer in report["layers"])
    run("prune", S4D, "--ratio", "0.7", "-o", "cut")
    result = data(run, "eval", "refitted", "--task", "listops", "--limit", "600", "--baseline", "cut")
    assert result["accuracy"] > result["baseline"]["accuracy"] + 0.02
    assert data(run, "verify", "refitted", "--against", S4D)["passed"]


def test_refitting_needs_no_data_and_follows_any_criterion(run: Run) -> None:
    report = data(run, "prune", S5, "--ratio", "0.5", "--refit", "--criterion", "aire")
    assert (report["method"], report["criterion"]) == ("refit", "aire")
    assert report["calibration"]["random"] == "tokens"
    _, out, err = run("prune", S5, "--ratio", "0.5", "--method", "reconstruct", "-n")
    assert "output error" in out
    assert "C refitted on: random tokens" in err
    assert "--method reconstruct" in run("prune", S5, "--ratio", "0.5", "-n")[2]


@pytest.mark.parametrize("criterion", ["balanced", "gn", "energy"])
def test_yardsticks_write_what_evaluates_and_verifies(run: Run, criterion: str) -> None:
    report = data(run, "prune", DIGITS, "--ratio", "0.3", "--criterion", criterion)
    assert report["criterion"] == criterion
    assert report["states"]["after"] == report["states"]["before"] * 70 // 100
    assert data(run, "verify", "pruned", "--against", DIGITS)["passed"]
    hints = run("prune", DIGITS, "--ratio", "0.3", "--criterion", criterion, "-n")[2]
    assert "wants --masked" in hints
    result = data(run, "eval", "pruned", "--task", "digits", "--limit", "100", "--baseline", DIGITS)
    assert result["baseline"]["agreement"] > 0.9
    assert f"{criterion} 0.3" in run("inspect", "pruned")[1]


def test_score_takes_sequences_and_a_horizon(run: Run, tmp_path: Path) -> None:
    report = data(run, "score", S5, "--criterion", "gn", "--calibration", "8", "--ratio", "0.5")
    assert (report["criterion"], report["calibration"]["task"], report["calibration"]["sequences"]) == (
        "gn",
        "listops",
        8,
    )
    np.savez(tmp_path / "x.npz", x=np.arange(32).reshape(4, 8) % 18)
    _, _, err = run("score", S5, "--criterion", "gn", "--calibration-file", "x.npz")
    assert "the network ran on file x.npz" in err
    assert data(run, "score", S5, "--criterion", "energy")["horizon"] == 65
    assert "energies over 9 steps" in run("score", S5, "--criterion", "energy", "--horizon", "9")[2]
    assert "criterion last takes none" in fails(run, "score", S5, "--calibration", "8")[0]
    assert "--method balanced" in fails(run, "score", S5, "--criterion", "balanced")[1]


def test_criteria_and_methods_are_listed(run: Run) -> None:
    listed = {item["name"]: item["summary"] for item in data(run, "list", "criteria")["items"]}
    assert "runs the network" in listed["gn"]
    assert "--horizon" in listed["energy"]
    assert listed.keys() >= {"reconstruct", "balanced"}


@pytest.mark.parametrize(
    ("sample", "method"),
    [
        (S5, ["--method", "reconstruct", "--calibration", "8"]),
        (S4D, ["--refit", "--criterion", "aire", "--calibration", "8"]),
        (S5, ["--method", "balanced"]),
    ],
)
def test_what_is_changed_at_the_old_shapes_gives_the_same_answers(run: Run, sample: str, method: list[str]) -> None:
    run("prune", sample, "--ratio", "0.5", *method)
    masked = data(run, "prune", sample, "--ratio", "0.5", "--masked", "-o", "masked", *method)
    assert masked["masked"] and masked["parameters"]["before"] == masked["parameters"]["after"]
    assert data(run, "verify", "masked", "--against", sample)["passed"]
    result = data(run, "eval", "masked", "--task", "listops", "--limit", "60", "--baseline", "pruned")
    assert result["baseline"]["agreement"] == 1
    compact = data(run, "eval", "pruned", "--task", "listops", "--limit", "60")
    assert result["loss"] == pytest.approx(compact["loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibration", "8"], "--calibration names sequences to measure on, but the criterion last takes none"),
        (["--task", "listops", "--data-dir", "."], "--task and --data-dir name sequences"),
        (["--criterion", "balanced", "--calibration", "8"], "the method balanced takes none"),
        (["--criterion", "balanced", "--allow-unstable"], "--allow-unstable does not go with new poles"),
        (["--criterion", "balanced", "--refit"], "chooses and refits by itself"),
        (["--horizon", "8"], "horizon is 8"),
        (["--method", "reconstruct", "--allow-unstable"], "--allow-unstable does not go with a refitted C"),
        (["--method", "reconstruct", "--criterion", "aire"], "chooses and refits by itself"),
        (["--refit", "--calibration-file", "no.npz"], "no.npz: no calibration sequences can be read"),
        (["--refit", "--calibration-file", "no.npz", "--task", "listops"], "are both given"),
        (["--refit", "--task", "listops", "--calibration", "0"], "calibration is 0"),
    ],
)
def test_arguments_of_refitting_that_do_not_go_together(run: Run, arguments: list[str], message: str) -> None:
    assert message in fails(run, "prune", S5, "--ratio", "0.5", *arguments)[0]


def test_paths_are_taken_as_users_write_them(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DIGITS, tmp_path / "a run" / "ckpt")
    (tmp_path / "link").symlink_to("a run", target_is_directory=True)
    (tmp_path / "a run" / "ckpt" / "notes").mkdir()
    for given in ("a run/ckpt/", "./link//ckpt", tmp_path / "link" / "ckpt"):
        assert data(run, "prune", given, "--ratio", "0.3", "-o", "out put", "-f")["output"] == "out put"
    monkeypatch.chdir(tmp_path / "a run" / "ckpt" / "notes")
    digest = data(run, "score", "../")["checkpoint"]["digest"]
    assert digest == data(run, "score", DIGITS)["checkpoint"]["digest"]
    assert data(run, "prune", "..", "--ratio", "0.3", "-o", "../../../beside")["states"]["after"] == 89
    assert data(run, "verify", "../../../beside", "--against", "..")["passed"]
    for inside in ("out", "../out", "../../../link/ckpt/out"):
        assert "lies inside the input" in fails(run, "prune", "..", "--ratio", "0.3", "-o", inside)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a run", "beside", "link", "out put"]
