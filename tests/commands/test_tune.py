"""`last tune`, and `last prune` with tuning in one go."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run, data, fails
from random_networks import digits
from tunings import inputs, small, whole

import last_cli as last
from last_cli.pruning.tune import loop, plan, train

KIND = "s5-two-directions"


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "EVERY", 2)
    monkeypatch.setattr(loop, "CHUNK", 2)
    monkeypatch.setattr(plan, "BATCH", 4)
    monkeypatch.setattr(plan, "STEPS", 4)
    monkeypatch.setattr(plan, "RATES", (0.003, 0.01))
    monkeypatch.setattr(train, "AT_A_TIME", 8)


@pytest.fixture
def pair() -> tuple[str, ...]:
    """A pruned checkpoint, and how its teacher and inputs are named."""
    teacher = str(whole(KIND).index.location.path)
    return str(small(KIND).index.location.path), "--teacher", teacher, "--calibration-file", str(inputs())


def test_tune_writes_a_checkpoint_and_says_what_came_of_it(run: Run, pair: tuple[str, ...]) -> None:
    found = data(run, "tune", *pair, "--steps", "8")
    assert found["schema"] == "last.tune/1"
    assert (found["output"], found["steps"], found["sequences"], found["held_out"]) == ("tuned", 8, 40, 5)
    assert found["teacher"]["path"] == pair[2]
    assert found["error"]["after"] <= found["error"]["before"]
    assert [point["step"] for point in found["points"]] == [0, 2, 4, 6, 8]
    code, out, err = run("verify", "tuned", "--against", pair[2])
    assert code == 0, out + err
    assert "tuned" in run("inspect", "tuned")[1]
    code, out, err = run("tune", *pair, "-o", "again")
    assert code == 0 and "held-out divergence" in out and "written" in out
    assert "without labels" in err and f"last eval again --task TASK --baseline {pair[2]}" in err.replace("\n", "")
    assert run("tune", *pair, "-o", "quiet", "-q", "--format", "csv")[1].startswith("step,error,agreement")


def test_an_output_that_exists_is_kept(run: Run, tmp_path: Path, pair: tuple[str, ...]) -> None:
    (tmp_path / "tuned").mkdir()
    assert "tuned" in fails(run, "tune", *pair)[0]
    assert list((tmp_path / "tuned").iterdir()) == []
    assert "input" in fails(run, "tune", *pair, "-o", pair[0], "--force")[0]
    fails(run, "tune", *pair, "-o", pair[2], "--force")
    assert last.load(pair[2]).digest == whole(KIND).digest


def test_what_makes_no_sense_is_an_error_of_two_lines(run: Run, tmp_path: Path, pair: tuple[str, ...]) -> None:
    assert "--steps is 0" in fails(run, "tune", *pair, "--steps", "0")[0]
    assert "--steps and --minutes" in fails(run, "tune", *pair, "--steps", "1", "--minutes", "1")[0]
    assert "--task" in fails(run, "tune", *pair[:3])[1]
    assert "teacher" in fails(run, "tune", pair[0])[0]
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut off")
    assert "x.npz" in fails(run, "tune", *pair[:3], "--calibration-file", "x.npz")[0]
    assert not (tmp_path / "tuned").exists()


def test_prune_and_tune_in_one_go(run: Run, pair: tuple[str, ...]) -> None:
    """With the criterion, which itself takes no sequences: those are tuned on."""
    found = data(run, "prune", pair[2], "--ratio", "0.5", "--tune", *pair[3:])
    assert found["tuned"]["sequences"] == 40
    assert found["tuned"]["teacher"]["path"] == pair[2]
    assert data(run, "verify", "pruned", "--against", pair[2])["passed"]
    chain = last.load("pruned").stamp["pruned"]
    assert [step.get("method", "criterion") for step in chain] == ["criterion", "tune"]
    dry = data(run, "prune", pair[2], "--ratio", "0.5", "--tune", *pair[3:], "--dry-run")
    assert dry["tuned"]["error"] == found["tuned"]["error"]


def test_the_units_of_a_tuned_checkpoint_can_be_kept(run: Run, pair: tuple[str, ...]) -> None:
    run("prune", pair[2], "--ratio", "0.5", "--tune", *pair[3:])
    kept = data(run, "prune", pair[2], "--keep", "pruned", "-o", "same")
    assert kept["states"]["after"] == data(run, "score", "pruned")["states"]


def test_a_trained_task_is_tuned_on_its_training_split() -> None:
    ck = digits()
    small = last.prune(ck, 0.5)
    found = last.tune(small, ck, sequences=32, steps=2).tuned
    assert found is not None
    assert {name: found.inputs[name] for name in ("task", "split", "sequences")} == {
        "task": "digits",
        "split": "train",
        "sequences": 32,
    }


def test_masked_states_stay_masked(run: Run, pair: tuple[str, ...]) -> None:
    run("prune", pair[2], "--ratio", "0.5", "--masked", "-o", "masked")
    assert run("tune", "masked", *pair[1:])[0] == 0
    before, after = last.load("masked"), last.load("tuned")
    assert [after.live(a).tolist() for a in after.layers] == [before.live(b).tolist() for b in before.layers]
    assert data(run, "verify", "tuned", "--against", pair[2])["passed"]
