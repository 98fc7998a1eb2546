"""`last score`."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from cases import DATA, SAMPLES
from commands import DIGITS, S4D, S5, Run, data, fails

import last_cli as last
from last_cli.formats.msgpack import pack_msgpack


@pytest.mark.parametrize(("sample", "states", "groups"), [(S5, 128, 1), (S4D, 8192, 64), (DIGITS, 128, 1)])
def test_score_reports_every_layer(run: Run, sample: str, states: int, groups: int) -> None:
    report = data(run, "score", sample, "--ratio", "0.33", "--per-state")
    assert report["schema"] == "last.score/1"
    assert report["last"] == last.__version__
    assert report["states"] == states == sum(layer["states"] for layer in report["layers"])
    assert report["kept"] == states * 67 // 100 // groups * groups
    assert report["checkpoint"]["digest"].startswith("sha256:")
    for layer in report["layers"]:
        hinf, score = layer["per_state"]["hinf"], layer["per_state"]["score"]
        flat = [h for row in hinf for h in row] if report["family"] == "s4d" else hinf
        assert len(flat) == layer["states"]
        assert layer["hinf"]["min"] == min(flat) <= layer["hinf"]["median"] <= layer["hinf"]["max"] == max(flat)
        assert layer["score"]["max"] == 1.0
        assert len(score) == len(hinf) == len(layer["per_state"]["keep"])


def test_score_filters_layers_and_writes_csv_and_markdown(run: Run) -> None:
    assert [x["name"] for x in data(run, "score", S5, "--layer", "layers_2")["layers"]] == ["encoder/layers_2/seq"]
    assert len(data(run, "score", S5, "--layer", "encoder/layers_*")["layers"]) == 4
    _, out, _ = run("score", S5, "--format", "csv", "--ratio", "0.5")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 128
    assert sum(int(row["keep"]) for row in rows) == 64
    _, out, _ = run("score", S5, "--format", "md")
    assert out.startswith("### last score s5-listops, criterion last\n\n| layer | states |") and out.endswith("\n\n")
    assert "no layer matches" in fails(run, "score", S5, "--layer", "nothing")[0]


def test_tables_are_whole_when_piped_and_plain(run: Run) -> None:
    _, out, err = run("score", S4D, "--ratio", "0.33")
    spreads = [f"{what} {part}" for what in ("H∞", "LAST") for part in ("min", "median", "max")]
    assert re.split(r" {2,}", out.splitlines()[1].strip()) == ["layer", "states", "kept", *spreads, "max |λ|"]
    _, per_state, _ = run("score", S5, "--per-state", "--ratio", "0.33")
    assert per_state.splitlines()[1].split() == ["layer", "state", "H∞", "score", "|λ|", "keep"]
    assert "…" not in out
    assert "\x1b" not in out + err
    assert "s4d, 4 layers of 32 states per channel" in err


def test_score_draws_a_figure(run: Run, tmp_path: Path) -> None:
    assert run("score", S5, "--ratio", "0.33", "--plot", "poles.svg")[0] == 0
    assert (tmp_path / "poles.svg").read_text().startswith("<?xml")
    assert "poles.txt" in fails(run, "score", S5, "--plot", "poles.txt")[0]
    assert "layers/0/mixer is no linear system" in fails(run, "score", SAMPLES / "mamba2-kjv", "--plot", "poles.svg")[0]


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


def test_flags_stand_for_what_the_tree_does_not_say(run: Run) -> None:
    case = str(DATA / "oracle" / "s5_08_bi_bilinear_noconj_ln_postnorm_padded" / "ckpt")
    plain = data(run, "score", case)
    assert plain["assumed"]["discretization"] == "zoh"
    assert "conj_sym" not in plain["assumed"]  # poles of both halves are stored
    told = data(run, "score", case, "--discretization", "bilinear", "--no-clip-eigs", "--step-rescale", "1")
    assert told["assumed"] == {}
    assert told["layers"][0]["hinf"] != plain["layers"][0]["hinf"]
    assert data(run, "score", S5, "--preset", "s5-lra-image")["assumed"] == {}


def test_what_a_configuration_says_of_the_layers_is_told_with_its_file(run: Run, tmp_path: Path) -> None:
    assert "from the checkpoint: clip_eigs = true\n" in run("score", S5)[2]
    (tmp_path / "run").mkdir()
    tree = {"params": last.load(S5).tree["params"]}
    (tmp_path / "run" / "best.msgpack").write_bytes(pack_msgpack(tree))
    assert "from ../" not in run("score", "run/best.msgpack")[2]
    (tmp_path / "config.json").write_text('{"discretization": "dirac"}')
    assert "from ../config.json: discretization = dirac" in run("score", "run/best.msgpack")[2]
    assert "from ../" not in run("score", "run/best.msgpack", "--discretization", "zoh")[2]
