"""`last prune`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cases import SAMPLES
from commands import DIGITS, S4D, S5, UNSTABLE, Run, data, fails
from random_networks import digits

import last_cli as last
from last_cli.pruning import prune
from last_cli.pruning.calibration import observe, request
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.recipe import Recipe

OBSERVED: dict[tuple[Any, ...], observe.Observation] = {}


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none are asked for; and a sample is observed on the same sequences once in a run."""
    for module in (observe, request):
        monkeypatch.setattr(module, "SEQUENCES", 20)
    monkeypatch.setattr(prune, "observe", observed)


def observed(checkpoint: last.Checkpoint, recipe: Recipe, calibration: Calibration, *_: Any) -> observe.Observation:
    key = (checkpoint.digest, calibration, recipe.seed, recipe.needs_network)
    if key not in OBSERVED:
        OBSERVED[key] = observe.observe(checkpoint, recipe, calibration)
    return OBSERVED[key]


@pytest.mark.parametrize(
    ("sample", "task", "limit"), [(S5, "listops", 200), (S4D, "listops", 200), (DIGITS, "digits", None)]
)
def test_prune_then_eval(run: Run, tmp_path: Path, sample: str, task: str, limit: int | None) -> None:
    report = data(run, "prune", sample, "--ratio", "0.33")
    assert report["schema"] == "last.prune/1"
    assert report["output"] == "pruned"
    groups = 64 if sample == S4D else 1  # channels, of which every one keeps as many
    assert report["states"]["after"] == report["states"]["before"] * 67 // 100 // groups * groups
    assert report["parameters"]["after"] < report["parameters"]["before"]
    assert report["bytes"]["after"] < report["bytes"]["before"]
    assert data(run, "score", "pruned")["states"] == report["states"]["after"]
    some = () if limit is None else ("--limit", str(limit))
    result = data(run, "eval", "pruned", "--task", task, "--baseline", sample, *some)
    assert result["schema"] == "last.eval/1"
    assert result["n"] == ((limit or 2000) if task == "listops" else 300)
    assert result["baseline"]["drop"] == pytest.approx(result["baseline"]["accuracy"] - result["accuracy"])
    assert result["assumed"] == {}
    trained = last.load(sample).stamp["training"]["accuracy"]["test"]
    close = 0.003 if limit is None else 3 * (trained * (1 - trained) / limit) ** 0.5
    assert result["baseline"]["accuracy"] == pytest.approx(trained, abs=close)


def test_a_dry_run_reports_the_same_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    dry = data(run, "prune", S5, "--ratio", "0.4", "--dry-run")
    assert dry["output"] is None
    assert list(tmp_path.iterdir()) == []
    wet = data(run, "prune", S5, "--ratio", "0.4")
    assert dry | {"output": None} == wet | {"output": None}


def test_prune_shows_how_to_go_on(run: Run) -> None:
    _, out, err = run("prune", S5, "--ratio", "0.33")
    assert "gain bound" in out
    assert "parameters" in err
    assert f"last eval pruned --task listops --baseline {S5}" in err.replace("\n", "")
    assert run("prune", S5, "--ratio", "0.33", "-q", "-o", "other")[2] == ""


def test_pruning_twice_chains_the_stamps(run: Run, tmp_path: Path) -> None:
    first = data(run, "prune", S4D, "--ratio", "0.2", "-o", "once")
    second = data(run, "prune", "once", "--ratio", "0.2", "-o", "twice")
    assert second["states"]["before"] == first["states"]["after"]
    stamp = json.loads((tmp_path / "twice" / "last.json").read_text())
    assert [step["ratio"] for step in stamp["pruned"]] == [0.2, 0.2]
    assert stamp["pruned"][1]["source"]["path"] == "once"
    assert stamp["pruned"][1]["source"]["digest"] == data(run, "score", "once")["checkpoint"]["digest"]
    assert stamp["task"]["name"] == "listops"


def test_s4d_shrinks_and_the_report_names_the_sizes_of_both_shapes(run: Run) -> None:
    report = data(run, "prune", S4D, "--ratio", "0.6")
    assert report["shape"] == "rectangular"
    kept = [layer["kept"] for layer in data(run, "score", S4D, "--ratio", "0.6")["layers"]]
    assert kept == [layer["after"] for layer in report["layers"]]
    assert kept == [64 * layer["stored"] for layer in report["layers"]]
    assert report["states"] == {"before": 8192, "after": 3264}  # 3,276 would be exact
    assert report["bytes"]["after"] < 0.66 * report["bytes"]["before"]
    ragged = data(run, "prune", S4D, "--ratio", "0.6", "--shape", "ragged", "-n")
    assert report["other_shape"] == {"shape": "ragged", "states": 3276, "bytes": ragged["bytes"]["after"]}
    assert ragged["other_shape"] == {"shape": "rectangular", "states": 3264, "bytes": report["bytes"]["after"]}
    _, out, err = run("prune", S4D, "--ratio", "0.6", "-n")
    assert "ragged would keep 3,276, in arrays of 310 kB (-9.8%)" in " ".join((out + err).split())
    page = run("prune", S4D, "--ratio", "0.6", "-n", "--format", "html")[1]
    assert "ragged would keep 3,276" in page
    assert "--shape rectangular shrinks them too" in run("prune", S4D, "--ratio", "0.6", "-n", "--shape", "ragged")[2]


def test_the_input_is_never_touched(run: Run) -> None:
    before = {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in Path(S5).rglob("*") if f.is_file()}
    run("prune", S5, "--ratio", "0.5")
    run("eval", S5, "--task", "listops", "--limit", "40")
    assert before == {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in Path(S5).rglob("*") if f.is_file()}


def test_an_existing_output_is_kept_unless_forced(run: Run, tmp_path: Path) -> None:
    assert run("prune", S5, "--ratio", "0.1")[0] == 0
    stamp = (tmp_path / "pruned" / "last.json").read_bytes()
    assert "--force" in fails(run, "prune", S5, "--ratio", "0.5")[1]
    assert (tmp_path / "pruned" / "last.json").read_bytes() == stamp
    assert run("prune", S5, "--ratio", "0.5", "--force")[0] == 0
    assert (tmp_path / "pruned" / "last.json").read_bytes() != stamp
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    fails(run, "prune", S5, "--ratio", "0.5", "-o", "thesis", "--force")
    assert "exists already" in fails(run, "prune", S5, "--ratio", "7")[0]  # known before any work
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "precious"


def test_not_a_checkpoint(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("no checkpoint")
    for path in ("empty", "notes", "notes/README.md"):
        assert path in fails(run, "prune", path, "--ratio", "0.3")[0]
    assert not (tmp_path / "pruned").exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A file-size limit stands for the disk: writes fail half-way, as they do when it is full."""
    limited = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", sys.executable, "-m", "last_cli"]
    done = subprocess.run(
        [*limited, "prune", S5, "--ratio", "0.1", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SAMPLES.parent)},
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: pruned: cannot be written")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_unstable_poles_are_named_and_can_be_allowed(run: Run, tmp_path: Path) -> None:
    line = fails(run, "prune", UNSTABLE, "--ratio", "0.3")[0]
    assert "encoder/layers_0/seq: state " in line
    assert not (tmp_path / "pruned").exists()
    report = data(run, "prune", UNSTABLE, "--ratio", "0.3", "--allow-unstable")
    assert "unit circle" in report["warnings"][0]
    assert data(run, "score", UNSTABLE, "--clip-eigs")["layers"][0]["max_abs_lambda"] < 1


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


def test_masked_output_evaluates_like_the_compact_one(run: Run) -> None:
    run("prune", S5, "--ratio", "0.3")
    masked = data(run, "prune", S5, "--ratio", "0.3", "--masked", "-o", "masked")
    assert masked["parameters"]["before"] == masked["parameters"]["after"]
    assert data(run, "verify", "masked", "--against", S5)["passed"]
    result = data(run, "eval", "masked", "--task", "listops", "--limit", "200", "--baseline", "pruned")
    assert result["baseline"]["agreement"] == 1


def test_reconstruct_keeps_more_than_the_criterion_at_a_high_ratio(run: Run) -> None:
    method = ["--method", "reconstruct", "--calibration", "24"]
    report = data(run, "prune", DIGITS, "--ratio", "0.7", *method, "-o", "refitted")
    assert report["method"] == "reconstruct"
    assert report["calibration"]["task"] == "digits"
    assert report["states"]["after"] == report["states"]["before"] * 30 // 100
    assert all(layer["calibration_relative"] < 0.5 for layer in report["layers"])
    run("prune", DIGITS, "--ratio", "0.7", "-o", "cut")
    result = data(run, "eval", "refitted", "--task", "digits", "--baseline", "cut")
    assert result["accuracy"] > result["baseline"]["accuracy"] + 0.02
    assert data(run, "verify", "refitted", "--against", DIGITS)["passed"]


def test_refitting_needs_no_data_and_follows_any_criterion(run: Run) -> None:
    report = data(run, "prune", S5, "--ratio", "0.5", "--refit", "--criterion", "aire")
    assert (report["method"], report["criterion"]) == ("refit", "aire")
    assert report["calibration"]["random"] == "tokens"
    _, out, err = run("prune", S5, "--ratio", "0.5", "--refit", "-n", "-v")
    assert "output error" in out
    assert "C refitted on 20 synthetic sequences (length 65, token frequencies from the first batch norm" in err
    assert "--method reconstruct" in run("prune", S5, "--ratio", "0.5", "-n")[2]


@pytest.mark.parametrize("criterion", ["balanced", "gn", "energy"])
def test_yardsticks_write_what_evaluates_and_verifies(run: Run, criterion: str) -> None:
    sample = digits().source.path
    report = data(run, "prune", sample, "--ratio", "0.3", "--criterion", criterion)
    assert report["criterion"] == criterion
    assert report["states"]["after"] == report["states"]["before"] * 70 // 100
    assert data(run, "verify", "pruned", "--against", sample)["passed"]
    hints = run("prune", sample, "--ratio", "0.3", "--criterion", criterion, "-n")[2]
    assert "use --masked" in hints
    result = data(run, "eval", "pruned", "--task", "digits", "--limit", "100", "--baseline", sample)
    assert result["baseline"]["agreement"] > 0.9
    assert f"{criterion} 0.3" in run("inspect", "pruned")[1]


@pytest.mark.parametrize(
    ("sample", "task", "method"),
    [
        (None, "digits", ["--method", "reconstruct", "--calibration", "8"]),
        (S4D, "listops", ["--refit", "--criterion", "aire", "--calibration", "4"]),
        (None, "digits", ["--method", "balanced"]),
    ],
)
def test_what_is_changed_at_the_old_shapes_gives_the_same_answers(
    run: Run, sample: str | None, task: str, method: list[str]
) -> None:
    sample = sample or digits().source.path
    run("prune", sample, "--ratio", "0.5", *method)
    masked = data(run, "prune", sample, "--ratio", "0.5", "--masked", "-o", "masked", *method)
    assert masked["masked"] and masked["parameters"]["before"] == masked["parameters"]["after"]
    assert data(run, "verify", "masked", "--against", sample)["passed"]
    result = data(run, "eval", "masked", "--task", task, "--limit", "60", "--baseline", "pruned")
    assert result["baseline"]["agreement"] == 1
    compact = data(run, "eval", "pruned", "--task", task, "--limit", "60")
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
