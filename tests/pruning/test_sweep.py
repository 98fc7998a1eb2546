"""`last sweep` on the samples: what it measures, how it goes on after a kill, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import S4D, Run, data, fails
from language_models import directories, model
from random_networks import digits, pruned

import last_cli as last
from last_cli.base import registry
from last_cli.evaluation import program
from last_cli.pruning import sweep
from last_cli.pruning.calibration.observe import observe
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.method import Method
from last_cli.pruning.recipe import Recipe, named
from last_cli.pruning.sweep import JOURNAL, parse_ratios
from last_cli.results.evaluation import Comparison

SMALL = ["--task", "digits", "--split", "test", "--limit", "60", "--ratios", "0,0.4,0.8", "--seeds", "2"]


@pytest.fixture
def sample() -> str:
    return digits().source.path


@pytest.mark.parametrize(
    ("ck", "names"), [(digits, ["aire+refit", "reconstruct"]), (partial(last.load, S4D), ["last"])], ids=["S5", "S4D"]
)
def test_masked_points_are_what_the_compact_checkpoints_give(
    ck: Any, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ck = ck()
    task = ck.stamp["task"]["name"]
    observation = observe(ck, Recipe(), Calibration(8, task))
    monkeypatch.setattr(sweep, "observe", lambda *asked: observation)  # measured once
    report = last.sweep(ck, task, ratios=[0.5], criteria=names, seeds=1, calibration=8, limit=60)
    assert report.settings["shape"] == ("rectangular" if ck.family == "s4d" else "ragged")
    for point, name in zip(report.points, names, strict=True):
        recipe = named(name, Recipe())
        method: Method = registry.get("methods", recipe.method)
        small = pruned(method.prepare(ck, recipe, observation if recipe.needs_inputs else None), 0.5)
        judged = last.evaluate(small, task, split=report.task["split"], limit=60, baseline=ck)
        assert isinstance(judged.baseline, Comparison) and small.report is not None
        assert (point.accuracy, point.drop) == (judged.accuracy, judged.baseline.drop)
        assert point.loss == pytest.approx(judged.measured.losses.mean(), abs=1e-5)
        assert point.drop_stderr == pytest.approx(judged.baseline.drop_stderr)
        assert point.states == small.report.states[1]


def test_the_command_writes_tables_points_and_figures(sample: str, run: Run, tmp_path: Path) -> None:
    report = data(run, "sweep", sample, *SMALL, "--criteria", "last,random", "--out", "out", "--plot", "figure.pdf")
    assert report["schema"] == "last.sweep/1"
    assert report["task"]["split"] == "test" and report["baseline"]["n"] == 60
    keys = [(p["criterion"], p["ratio"], p["seed"]) for p in report["points"]]
    assert keys == [
        *[("last", r, 0) for r in (0, 0.4, 0.8)],
        *[("random", r, seed) for seed in (0, 1) for r in (0, 0.4, 0.8)],
    ]
    assert all(p["drop"] == 0 and p["states"] == report["baseline"]["states"] for p in report["points"][::3])
    for point in report["points"]:
        assert point["drop"] == pytest.approx(report["baseline"]["accuracy"] - point["accuracy"])
    means = {(m["criterion"], m["ratio"]): m for m in report["means"]}
    drops = [p["drop"] for p in report["points"] if (p["criterion"], p["ratio"]) == ("random", 0.4)]
    assert means["random", 0.4]["drop"] == pytest.approx(np.mean(drops))
    assert any("must not be chosen" in note and "--split val" in note for note in report["warnings"])
    assert json.loads(Path("out/sweep.json").read_text()) == report
    assert len(Path("out/sweep.csv").read_text().splitlines()) == 1 + len(keys)
    assert Path("out/sweep.svg").read_text().startswith("<?xml")
    assert Path("out/sweep.png").read_bytes().startswith(b"\x89PNG")
    assert Path("figure.pdf").read_bytes().startswith(b"%PDF")
    _, table, _ = run("sweep", sample, *SMALL, "--criteria", "last,random", "--out", "out", "--format", "md")
    assert table.splitlines()[2] == "| ratio | last | random |"
    header, *rows = Path("out", JOURNAL).read_text().splitlines()
    assert json.loads(header)["checkpoint"] == report["checkpoint"]["digest"]
    assert len(rows) == len(keys)


def test_a_killed_sweep_goes_on_where_it_stopped(sample: str, run: Run, tmp_path: Path) -> None:
    arguments = ["sweep", sample, *SMALL, "--criteria", "last,aire,random", "--out", "out"]
    journal = tmp_path / "out" / JOURNAL
    started = subprocess.Popen([sys.executable, "-m", "last_cli", *arguments, "-q"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 2) and time.monotonic() < deadline:
        assert started.poll() is None
        time.sleep(0.05)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    kept = journal.read_bytes()
    with journal.open("ab") as file:
        file.write(b'{"criterion": "la')
    report = data(run, *arguments)
    assert journal.read_bytes().startswith(kept)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(lines) == 1 + len(report["points"]) == 1 + 12
    fresh = data(run, *arguments[:-1], "fresh")
    assert fresh["points"] == report["points"]


def test_a_sweep_is_extended_but_never_mixed_with_another(sample: str, run: Run) -> None:
    base = ["sweep", sample, "--task", "digits", "--split", "test", "--seeds", "1", "--out", "out"]
    data(run, *base, "--criteria", "last", "--ratios", "0.4", "--limit", "30")
    more = data(run, *base, "--criteria", "last,aire", "--ratios", "0.4,0.6", "--limit", "30")
    assert len(more["points"]) == 4 == len(Path("out", JOURNAL).read_text().splitlines()) - 1
    other = fails(run, *base, "--criteria", "last", "--ratios", "0.4", "--limit", "40")
    assert "has limit 30, and this run 40" in other[0] and "another --out" in other[1]
    assert "has split" in fails(run, *base, "--ratios", "0.4", "--limit", "30", "--split", "val")[0]
    Path("out", JOURNAL).write_text("no line of JSON\n")
    assert "not a file of JSON lines" in fails(run, *base, "--ratios", "0.4", "--limit", "30")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--criteria", "lost"], "unknown criterion 'lost'"),
        (["--criteria", ","], "no criteria are given"),
        (["--ratios", "0:1:0.1"], "up to, but not including, 1"),
        (["--ratios", "0:0.5"], "expected START:STOP:STEP"),
        (["--ratios", "0:0.5:0"], "expected START:STOP:STEP"),
        (["--ratios", "0:0.9:1e-12"], "900,000,000,001 ratios, expected at most 1,000"),
        (["--criteria", "reconstruct+refit"], "reconstruct chooses and refits by itself"),
        (["--ratios", "half"], "expected START:STOP:STEP"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--plot", "figure.txt"], "expected a name that ends with"),
        (["--calibration", "0", "--criteria", "reconstruct"], "calibration is 0"),
    ],
)
def test_what_a_sweep_refuses(sample: str, run: Run, arguments: list[str], message: str) -> None:
    assert message in fails(run, "sweep", sample, "--task", "digits", "--limit", "10", *arguments)[0]


def test_ratios_are_read_in_three_ways() -> None:
    assert parse_ratios("0:0.9:0.1") == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert parse_ratios("0.5, 0.1,0.5") == parse_ratios([0.5, 0.1]) == [0.1, 0.5]
    assert parse_ratios("0.2:0.2:0.1") == [0.2]


def test_new_poles_share_the_one_compiled_program() -> None:
    program._compiled.cache_clear()
    ck = digits()
    report = last.sweep(ck, "digits", ratios=[0.3, 0.5], criteria=["balanced", "energy"], limit=30)
    assert [point.criterion for point in report.points] == ["balanced", "balanced", "energy", "energy"]
    assert all(point.states < report.baseline.states for point in report.points)
    assert program._compiled.cache_info().misses == 1


def test_a_language_model_is_swept_by_its_perplexity(tmp_path: Path, run: Run) -> None:
    source = directories() / "hf_groups" / "checkpoint"
    np.savez(tmp_path / "text.npz", x=model("hf_groups").recorded["tokens"][0, :20].reshape(2, 10))
    task = str(tmp_path / "text.npz")
    asked = ["sweep", str(source), "--task", task, "--ratios", "0,0.5", "--seeds", "1", "--out", "out"]
    report = data(run, *asked, "--plot", "figure.svg")
    assert [point["criterion"] for point in report["points"][::2]] == list(sweep.OTHERS)
    small = last.prune(source, 0.5, "magnitude")
    judged = last.evaluate(small, task, baseline=source).as_json()
    point = next(p for p in report["points"] if (p["criterion"], p["ratio"]) == ("magnitude", 0.5))
    assert "accuracy" not in point and point["perplexity"] == pytest.approx(judged["perplexity"]["token"], rel=1e-5)
    assert point["increase"] == pytest.approx(judged["baseline"]["increase"], abs=1e-5)
    assert report["baseline"]["n"] == 18 and report["baseline"]["perplexity"] > 1
    best = min(report["means"], key=lambda mean: (mean["states"], mean["perplexity"]))
    assert best["pareto"] and {"increase", "increase_stderr"} <= best.keys()
    assert data(run, *asked)["points"] == report["points"]
    lines = run(*asked)[2]
    assert "unpruned perplexity per token" in lines and "increase of the perplexity in percent" in lines
    assert "none is given" in fails(run, *asked, "--criteria", "fisher")[0]
    np.savez(tmp_path / "other.npz", x=[[1, 2, 3]])
    given = [*asked[:-1], "given", "--criteria", "hinf", "--calibration-file"]
    assert data(run, *given, task)["settings"]["calibration_digest"].startswith("sha256:")
    assert "has" in fails(run, *given, str(tmp_path / "other.npz"))[0]


def test_targets_and_criteria_are_drawn_together_weights_included(tmp_path: Path, run: Run) -> None:
    source = str(directories() / "hf_groups" / "checkpoint")
    np.savez(tmp_path / "text.npz", x=model("hf_groups").recorded["tokens"][0, :40].reshape(4, 10))
    task = str(tmp_path / "text.npz")
    asked = ["sweep", source, "--task", task, "--ratios", "0,0.5", "--seeds", "1", "--calibration-file", task]
    asked += ["--target", "states,heads,weights,blocks", "--criterion"]
    report = data(run, *asked, "magnitude,flap,wanda,loss", "--plot", "figure.svg", "--out", "out")
    wanted = ["states: magnitude", "heads: magnitude", "heads: flap", "weights: wanda", "blocks: loss"]
    assert [point["criterion"] for point in report["points"][::2]] == wanted
    assert [point["target"] for point in report["points"][::2]] == ["states", "heads", "heads", "weights", "blocks"]
    units, whole = report["baseline"]["units"], report["points"][6]
    assert report["settings"]["target"] == ",".join(units) == "states,heads,weights,blocks"
    assert whole["states"] == units["weights"] and report["points"][7]["states"] == units["weights"] // 2
    fronts = {mean["target"] for mean in report["means"] if mean["pareto"]}
    assert fronts == {*units}
    small = last.prune(source, 0.5, "wanda", target="weights", calibration_file=task)
    increase = last.evaluate(small, task, baseline=source).as_json()["baseline"]["increase"]
    assert report["points"][7]["increase"] == pytest.approx(increase, abs=1e-5)
    assert "neither scores nor removes weights" in fails(run, *asked, "magnitude,flap")[0]
    alone = data(run, *asked[:-2], "heads", "--criterion", "flap")
    assert {point["criterion"] for point in alone["points"]} == {"flap"} and "units" not in alone["baseline"]
