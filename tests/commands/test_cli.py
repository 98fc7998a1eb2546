"""The real commands, run as a user runs them, on the sample checkpoints."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import DATA, SAMPLES
from commands import DIGITS, S4D, S5, UNSTABLE, Run, data, fails

import last_cli as last
from last_cli.evaluation import measure as measuring

COMMANDS = "score prune eval sweep bench inspect verify diff list demo import export"


@pytest.mark.parametrize(("sample", "states"), [(S5, 128), (S4D, 8192), (DIGITS, 128)])
def test_score_reports_every_layer(run: Run, sample: str, states: int) -> None:
    report = data(run, "score", sample, "--ratio", "0.33", "--per-state")
    assert report["schema"] == "last.score/1"
    assert report["last"] == last.__version__
    assert report["states"] == states == sum(layer["states"] for layer in report["layers"])
    assert report["kept"] == states * 67 // 100
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
    assert out.startswith("| layer | states |")
    assert "no layer matches" in fails(run, "score", S5, "--layer", "nothing")[0]


def test_tables_are_whole_when_piped_and_plain(run: Run) -> None:
    _, out, err = run("score", S4D, "--ratio", "0.33")
    assert "max |λ|" in out
    assert "…" not in out
    assert "\x1b" not in out + err
    assert "s4d, 4 layers of 32 states a channel" in err


def test_score_draws_a_figure(run: Run, tmp_path: Path) -> None:
    assert run("score", S5, "--ratio", "0.33", "--plot", "poles.svg")[0] == 0
    assert (tmp_path / "poles.svg").read_text().startswith("<?xml")
    assert "poles.txt" in fails(run, "score", S5, "--plot", "poles.txt")[0]


@pytest.mark.parametrize(("sample", "task"), [(S5, "listops"), (S4D, "listops"), (DIGITS, "digits")])
def test_prune_then_eval(run: Run, tmp_path: Path, sample: str, task: str) -> None:
    report = data(run, "prune", sample, "--ratio", "0.33")
    assert report["schema"] == "last.prune/1"
    assert report["output"] == "pruned"
    assert report["states"]["after"] == report["states"]["before"] * 67 // 100
    assert report["parameters"]["after"] < report["parameters"]["before"]
    assert report["bytes"]["after"] < report["bytes"]["before"]
    assert data(run, "score", "pruned")["states"] == report["states"]["after"]
    result = data(run, "eval", "pruned", "--task", task, "--baseline", sample)
    assert result["schema"] == "last.eval/1"
    assert result["n"] == (2000 if task == "listops" else 300)
    assert result["baseline"]["drop"] == pytest.approx(result["baseline"]["accuracy"] - result["accuracy"])
    assert result["assumed"] == {}
    trained = last.load(sample).stamp["training"]["accuracy"]["test"]
    assert result["baseline"]["accuracy"] == pytest.approx(trained, abs=0.003)


def test_samples_reach_what_they_promise() -> None:
    for sample, least in ((S5, 0.5), (S4D, 0.5), (DIGITS, 0.97)):
        assert last.load(sample).stamp["training"]["accuracy"]["test"] >= least
        assert sum(f.stat().st_size for f in Path(sample).rglob("*") if f.is_file()) < 3e6


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


def test_the_input_is_never_touched(run: Run) -> None:
    before = {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in Path(S5).rglob("*") if f.is_file()}
    run("prune", S5, "--ratio", "0.5")
    run("eval", S5, "--task", "listops", "--limit", "40")
    assert before == {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in Path(S5).rglob("*") if f.is_file()}


def test_gates_decide_the_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ("eval", S5, "--task", "listops", "--limit", "200")
    assert data(run, *base, "--min-accuracy", "0.3")["gates"][0]["passed"]
    assert data(run, *base, "--min-accuracy", "30", "--baseline", S5, "--max-drop", "0")["gates"][1]["value"] == 0
    gate = data(run, *base, "--min-accuracy", "0.99", code=1)["gates"][0]
    assert gate == {"name": "min_accuracy", "limit": 0.99, "value": gate["value"], "passed": False}
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, _, err = run(*base, "--min-accuracy", "99")
    assert code == 1
    assert "::error::accuracy" in err


def test_a_partial_run_says_so(run: Run) -> None:
    report = data(run, "eval", S5, "--task", "listops", "--limit", "50")
    assert report["n"] == report["task"]["limit"] == 50
    assert any("first 50" in warning for warning in report["warnings"])
    assert "generated" in run("eval", S5, "--task", "listops", "--limit", "50")[2]


def test_eval_in_every_form(run: Run) -> None:
    arguments = ("eval", S5, "--task", "listops", "--limit", "50", "--baseline", S5)
    assert "difference (paired)" in run(*arguments)[1]
    assert run(*arguments, "--format", "md")[1].startswith("|  | accuracy |")
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv")[1])))
    assert float(rows[0]["baseline_drop"]) == 0
    assert (rows[0]["path"], rows[0]["task"], rows[0]["split"]) == (S5, "listops", "test")


def test_batch_size_does_not_change_the_answers(run: Run) -> None:
    results = [
        data(run, "eval", S5, "--task", "listops", "--limit", "101", "--batch-size", size)["accuracy"]
        for size in ("1", "7", "64")
    ]
    assert len(set(results)) == 1


def test_inspect_and_list(run: Run) -> None:
    report = data(run, "inspect", S4D)
    assert report["layers"][0]["groups"] == 64
    assert report["stamp"]["training"]["recipe"] == "s4d-listops"
    assert "trained" in run("inspect", S4D)[1]
    tree = run("inspect", S4D, "--tree")[1]
    assert "params/layers_0/seq/log_A_real" in tree
    assert "64x32" in tree
    for kind, name in (("criteria", "aire"), ("families", "s5"), ("tasks", "digits"), ("presets", "s5-lra-pathx")):
        assert name in [item["name"] for item in data(run, "list", kind)["items"]]
        assert name in run("list", kind)[1]


def test_the_demo_runs_the_three_commands(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("demo")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if line.startswith("$ last")] == ["score", "prune", "eval"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [[], *([name] for name in COMMANDS.split())],
)
def test_every_help_page_ends_with_examples(run: Run, command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "…" not in out
    last_line = out.strip().splitlines()[-1].strip()
    assert last_line.startswith("Example:  ") and f" last {' '.join(command)}".rstrip() in last_line


def test_help_lists_the_commands_by_value(run: Run) -> None:
    shown = re.findall(r"^│ +([a-z]+) {2,}", run("--help")[1], re.MULTILINE)
    assert " ".join(name for name in shown if name in COMMANDS.split()) == COMMANDS


@pytest.mark.parametrize("command", ["eval", "sweep"])
def test_the_help_says_which_batch_size_is_taken(run: Run, command: str) -> None:
    shown = " ".join(run(command, "--help")[1].replace("│", " ").split())
    assert f"[default: ({measuring.CPU_MICRO_BATCH} on a CPU, {measuring.ACCELERATOR_BATCH} else)]" in shown


def test_version_and_no_arguments(run: Run) -> None:
    assert run("--version") == (0, f"last {last.__version__}\n", "")
    code, out, err = run()
    assert code == 2
    assert "Usage" in out + err
    assert "error" not in err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["score", "nowhere"], "nowhere: no such file or directory", "path"),
        (["score", S5, "--criterion", "lost"], "unknown criterion 'lost'", "did you mean 'last'?"),
        (["score", S5, "--preset", "s5-lra-listop"], "unknown preset", "did you mean 's5-lra-listops'?"),
        (["score", S5, "--ratio", "1"], "ratio is 1, expected a number from 0", "0.33"),
        (["score", S5, "--step-rescale", "0"], "step_rescale is 0.0, expected a positive number", "flag"),
        (["prune", S5, "--ratio", "33"], "ratio is 33", "--ratio 0.33"),
        (["prune", S5, "--ratio", "-0.1"], "ratio is -0.1", "0.33"),
        (["prune", S5], "none of --ratio, --max-drop and --max-error", "--ratio 0.33"),
        (["prune", S5, "--ratio", "0.1", "--max-drop", "1"], "several of --ratio", "--ratio 0.33"),
        (["prune", S5, "--max-drop", "nan"], "--max-drop is nan, expected 0 or more", "half a percentage point"),
        (["prune", S5, "--max-error", "-1"], "--max-error is -1, expected 0 or more", "--max-error 0.004"),
        (["score", S5, "--item", "state"], "has no items", "leave --item out"),
        (["score", S5, "--plot", "no/such/poles.svg"], "there is no directory no/such", "mkdir -p no/such"),
        (["score", S5, "--format", "xml"], "'--format': 'xml' is not one of 'table'", "last score --help"),
        (["eval", S5, "--task", "listops", "--min-accuracy", "150"], "--min-accuracy is 150 %", "60 percent"),
        (["prune", S5, "--ratio", "x"], "invalid value for '--ratio'", "last prune --help"),
        (["prune", S5, "--ratio", "0.3", "--min-states", "-1"], "min-states is -1", "lose all its states"),
        (["prune", S5, "--ratio", "0.3", "-o", S5], "the output is the input", "-o"),
        (["score", UNSTABLE], "state", "--clip-eigs"),
        (["eval", S5, "--task", "listop"], "unknown task 'listop'", "did you mean 'listops'?"),
        (["eval", S5, "--task", "digits"], "the encoder takes 20 inputs", "--task"),
        (["eval", S5, "--task", "listops", "--max-drop", "1"], "none is given", "--baseline"),
        (["eval", S5, "--task", "listops", "--split", "tset"], "tset", "test, val, train"),
        (["eval", S5, "--task", "listops", "--limit", "0"], "limit is 0", ""),
        (["eval", S5, "--task", "listops", "--device", "gpu"], "no gpu", "cuda13"),
        (["eval", S5, "--task", "listops", "--activation", "full_glu"], "activation is 'full_glu'", "--activation"),
        (["eval", S5, "--task", "listops", "--data-dir", "empty"], "basic_test.tsv", "lra_release"),
        (["prnue", S5], "no such command 'prnue'", "last --help"),
    ],
)
def test_errors_say_what_and_what_next(run: Run, arguments: list[str], message: str, hint: str) -> None:
    lines = fails(run, *arguments)
    assert message.lower() in lines[0].lower()
    assert hint in lines[1]


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


def test_tracebacks_only_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in run("score", "nowhere")[2]
    assert "Traceback" in run("score", "nowhere", "-v")[2]
    monkeypatch.setenv("LAST_DEBUG", "1")
    assert "Traceback" in run("score", "nowhere")[2]


def test_an_internal_error_is_two_lines_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of course")

    monkeypatch.setattr("last_cli.pruning.score.score", broken)
    assert fails(run, "score", S5)[0] == "error: internal error: ZeroDivisionError: of course"


def test_interrupting_exits_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("last_cli.pruning.score.score", interrupted)
    assert run("score", S5)[0] == 130


def test_the_three_ways_to_start_it_are_one_program() -> None:
    program = [sys.executable, "-m", "last_cli", "--version"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == f"last {last.__version__}\n"
    for script in ("last", "last-cli"):
        if path := shutil.which(script, path=str(Path(sys.executable).parent)):
            done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
            assert done.stdout == f"last {last.__version__}\n"


def test_flags_stand_for_what_the_tree_does_not_say(run: Run) -> None:
    case = str(DATA / "oracle" / "s5_08_bi_bilinear_noconj_ln_postnorm_padded" / "ckpt")
    plain = data(run, "score", case)
    assert plain["assumed"]["discretization"] == "zoh"
    assert "conj_sym" not in plain["assumed"]  # poles of both halves are stored
    told = data(run, "score", case, "--discretization", "bilinear", "--no-clip-eigs", "--step-rescale", "1")
    assert told["assumed"] == {}
    assert told["layers"][0]["hinf"] != plain["layers"][0]["hinf"]
    assert data(run, "score", S5, "--preset", "s5-lra-image")["assumed"] == {}


def test_unstable_poles_are_named_and_can_be_allowed(run: Run, tmp_path: Path) -> None:
    line = fails(run, "prune", UNSTABLE, "--ratio", "0.3")[0]
    assert "encoder/layers_0/seq: state " in line
    assert not (tmp_path / "pruned").exists()
    report = data(run, "prune", UNSTABLE, "--ratio", "0.3", "--allow-unstable")
    assert "unit circle" in report["warnings"][0]
    assert data(run, "score", UNSTABLE, "--clip-eigs")["layers"][0]["max_abs_lambda"] < 1
