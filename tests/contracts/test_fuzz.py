"""Damaged and made-up files: an answer or an error in words, soon, and within a gigabyte; fuzz.py has more of it."""

from __future__ import annotations

import random
from pathlib import Path

import fuzzing
import pytest
from fuzz_targets import Target, targets
from mutations import PIPE, Files, mutated, write_files

from last_cli.base.errors import LastError

INPUTS = 150


def test_nothing_fails_inside() -> None:
    found = fuzzing.run(range(INPUTS), seed=2)
    assert found.faults == []
    assert found.inputs == INPUTS and INPUTS // 4 < found.refused < INPUTS


@pytest.mark.parametrize("target", ["cur_v1_save_pytree", "calibration", "smnist", "import-s5.safetensors", "sound"])
def test_a_pipe_in_the_place_of_any_file(target: str, tmp_path: Path) -> None:
    chosen = next(t for t in targets() if t.name == target)
    for i, name in enumerate(chosen.start):
        root = tmp_path / str(i) / "in"
        write_files(root, chosen.start | {name: PIPE})
        with fuzzing.deadline(), fuzzing.quiet():
            try:
                chosen.read(root, random.Random(0))
            except LastError as error:
                assert error.message


def test_an_input_is_fixed_by_its_number() -> None:
    start = targets()[0].start
    one, same, other = (mutated(random.Random(f"1/{n}"), start) for n in (7, 7, 8))
    assert one == same != other


@pytest.mark.parametrize(
    ("fault", "said"),
    [(KeyError("x"), "KeyError"), (MemoryError(), "MemoryError"), (RecursionError("deep"), "RecursionError")],
)
def test_what_is_no_answer_is_a_fault(tmp_path: Path, fault: Exception, said: str) -> None:
    def read(root: Path, rng: random.Random) -> None:
        raise fault

    files: Files = {"a": b"x"}
    found, refused = fuzzing.one(Target("broken", files, read), random.Random(0), tmp_path / "in", verbose=False)
    assert said in found and not refused


def test_what_takes_too_long_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(root: Path, rng: random.Random) -> None:
        while True:
            pass

    monkeypatch.setattr(fuzzing, "DEADLINE", 0.05)
    found, _ = fuzzing.one(Target("endless", {"a": b"x"}, read), random.Random(0), tmp_path / "in", verbose=False)
    assert "not ready" in found
