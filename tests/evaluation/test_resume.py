"""An evaluation that is killed and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import S5, Run, data

import last_cli as last
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation import resume as partial
from last_cli.evaluation.evaluate import Request, follow_task, measure
from last_cli.evaluation.resume import Batch, Session
from last_cli.tasks.find import find
from last_cli.tasks.task import Split

EVAL = ("eval", S5, "--task", "listops", "--limit", "101")

# Every batch takes a while and is kept at once; after a few it waits for the end.
SLOWLY = """
import sys, time
from last_cli.evaluation import measure as measuring
from last_cli.evaluation import resume as partial
from last_cli.cli import main

partial.SECONDS = 0
answers = measuring._answers
def slowly(*arguments):
    for number, found in enumerate(answers(*arguments)):
        yield found
        time.sleep(0.05 if number < 3 else 60)
measuring._answers = slowly
sys.exit(main(sys.argv[1:]))
"""


def interrupt(cache: Path, signal: str) -> subprocess.Popen[str]:
    """The evaluation, stopped as soon as a few shards are there."""
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, *EVAL], stderr=subprocess.PIPE, text=True)
    while len(list((cache / "arrays").glob("partial-*.npz"))) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    subprocess.run(["kill", f"-{signal}", str(process.pid)], check=True)
    process.wait()
    return process


@pytest.fixture(scope="module")
def task() -> tuple[Checkpoint, Split]:
    ck = last.load(S5)
    split = find("listops").load("test", settings=dict(ck.stamp["task"]), limit=41)
    return follow_task(ck, split), split


def test_a_killed_run_goes_on_to_the_same_result(run: Run, cache: Path) -> None:
    plain = data(run, *EVAL)
    interrupt(cache, "KILL")
    shards = len(list((cache / "arrays").glob("partial-*.npz")))
    assert shards >= 3
    assert "--resume" not in run(*EVAL[:-1], "20")[2]
    code, _, err = run(*EVAL)
    assert code == 0 and "--resume continues it" in err
    interrupt(cache, "KILL")
    resumed = data(run, *EVAL, "--resume")
    assert 0 < resumed["resumed"] < 101
    assert [resumed[key] for key in ("accuracy", "loss", "n")] == [plain[key] for key in ("accuracy", "loss", "n")]
    assert list((cache / "arrays").glob("partial-*.npz")) == []


def test_ctrl_c_says_how_to_go_on(cache: Path) -> None:
    process = interrupt(cache, "INT")
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.returncode == 130
    assert "--resume" in err.splitlines()[-1]


def test_where_no_batch_is_finished_nothing_is_promised(cache: Path) -> None:
    session = Session(False, lambda *_: None)
    kept = session.open({"model": 1})
    assert kept is not None and session.how_to_go_on() is None
    kept.add(0, b"digest", Batch(np.zeros(1, np.int32), np.zeros(1), np.zeros(1)))
    kept.flush()
    assert session.how_to_go_on() == "progress saved; rerun with ⟦resume⟧ to continue"


class Cut(Exception):
    """What interrupts."""


def cut_after(session: Session, batches: int) -> None:
    """Stop the session's evaluation once so many batches are kept."""
    opened = session.open

    def open_and_count(key: object) -> partial.Kept | None:
        kept = opened(key)  # pyright: ignore[reportArgumentType]
        assert kept is not None
        add, seen = kept.add, []

        def counted(*arguments: object) -> None:
            if len(seen) == batches:
                raise Cut
            seen.append(arguments)
            add(*arguments)  # pyright: ignore[reportArgumentType]

        kept.add = counted  # pyright: ignore[reportAttributeAccessIssue]
        return kept

    session.open = open_and_count  # pyright: ignore[reportAttributeAccessIssue]


def test_what_is_taken_up_is_equal_to_the_last_bit(task: tuple[Checkpoint, Split], cache: Path) -> None:
    ck, split = task
    request = Request("listops", batch_size=4)
    plain = measure(ck, split, request)
    said: list[str] = []
    session = Session(False, lambda line, _: said.append(line))
    cut_after(session, 4)
    with pytest.raises(Cut):
        measure(ck, split, request, session=session)
    assert said == []
    found = measure(ck, split, request, "evaluate", session=Session(True, lambda line, _: said.append(line)))
    assert found.resumed == 16 and "16 of 41" in said[0]
    np.testing.assert_array_equal(found.predicted, plain.predicted)
    np.testing.assert_array_equal(found.losses, plain.losses)
    again = measure(ck, split, request, session=Session(True, lambda *_: None))
    assert again.resumed == 41 and again.speed == 0
    np.testing.assert_array_equal(again.losses, plain.losses)


def test_a_baseline_that_is_the_model_itself_takes_up_its_answers(task: tuple[Checkpoint, Split], cache: Path) -> None:
    ck, split = task
    said: list[str] = []
    session = Session(False, lambda line, _: said.append(line))
    request = Request("listops", batch_size=4)
    once = measure(ck, split, request, "evaluate", session=session)
    again = measure(ck, split, request, "baseline", session=session)
    assert said == [] and again.resumed == 41
    np.testing.assert_array_equal(again.losses, once.losses)


def test_nothing_else_is_taken_up(task: tuple[Checkpoint, Split], cache: Path) -> None:
    ck, split = task
    request = Request("listops", batch_size=4)

    def resumed(model: Checkpoint, data: Split, asked: Request) -> int:
        return measure(model, data, asked, session=Session(True, lambda *_: None)).resumed

    assert resumed(ck, split, request) == 0
    assert resumed(last.prune(ck, 0.1), split, request) == 0
    assert resumed(ck, split, Request("listops", batch_size=5)) == 0
    assert resumed(ck, split, Request("listops", batch_size=4, precision="bfloat16")) == 0
    changed = split.y.copy()
    changed[9] = (changed[9] + 1) % 10
    assert resumed(ck, Split(**{**vars(split), "y": changed}), request) == 37
    for path in (cache / "arrays").glob("partial-*.npz"):
        path.write_bytes(path.read_bytes()[:-30])
    assert resumed(ck, split, request) == 0


def test_shards_are_written_only_after_some_seconds(task: tuple[Checkpoint, Split], cache: Path) -> None:
    kept = Session(False, lambda *_: None).open({"a": 1})
    assert kept is not None
    batch = partial.Batch(np.arange(4, dtype=np.int32), np.zeros(4, bool), np.zeros(4))
    kept.add(0, bytes(32), batch)
    assert not cache.exists()
    kept.begin -= partial.SECONDS
    kept.add(2, bytes(range(32)), batch)
    assert len(list((cache / "arrays").iterdir())) == 1
    found = kept.find()
    assert sorted(found) == [0, 2] and found[2][0] == bytes(range(32))
    kept.clear()
    assert list((cache / "arrays").iterdir()) == []
    assert os.environ["LAST_CACHE_DIR"] == str(cache)
