"""Two processes on the loopback address, run as a user runs them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import S5, Run, data, fails
from language_models import model

EVAL = ("eval", S5, "--task", "listops", "--limit", "41", "--baseline", S5)


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "last_cli", *map(str, arguments), "--format", "json"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment)


def pair(
    port: int, *arguments: str, of_one: tuple[str, ...] = (), command: Sequence[str | Path] = EVAL
) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of processes 0 and 1."""
    where = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2")
    # Unlike numbers of devices make unlike shares.
    both = [
        start(*command, *arguments, *where, "--process-id", "0", JAX_NUM_CPU_DEVICES="1"),
        start(*command, *arguments, *of_one, *where, "--process-id", "1", JAX_NUM_CPU_DEVICES="2"),
    ]
    return [(process.wait(), *process.communicate()) for process in both]


def same(found: dict[str, Any], plain: dict[str, Any]) -> bool:
    keys = ("accuracy", "loss", "n", "perplexity", "baseline", "task", "warnings")
    return [found.get(key) for key in keys] == [plain.get(key) for key in keys]


def test_two_processes_give_the_plain_report_once(run: Run, port: int) -> None:
    plain = data(run, *EVAL)
    (code, out, err), other = pair(port, "--min-accuracy", "99")
    assert (code, *other) == (1, 1, "", ""), (err, other)
    report = json.loads(out)
    assert same(report, plain)
    assert report["device"] == "cpu (3 devices, 2 processes)"
    assert report["gates"][0]["value"] == plain["accuracy"]
    assert "2 processes" in err


def test_so_they_do_of_a_language_model(run: Run, port: int, tmp_path: Path) -> None:
    """Windows of several lengths, shared out to one device and to two."""
    directory = model("ssm_defaults").directory / "checkpoint"
    x = np.random.default_rng(0).integers(0, 60, (7, 12))
    np.savez(tmp_path / "t.npz", x=x, lengths=[12, 12, 3, 9, 12, 2, 5])
    command = ("eval", directory, "--task", str(tmp_path / "t.npz"), "--window", "5", "--baseline", directory)
    (code, out, err), other = pair(port, "--max-increase", "1%", command=command)
    assert (code, *other) == (0, 0, "", ""), (err, other)
    report = json.loads(out)
    assert same(report, data(run, *command)) and report["n"] == 48
    assert report["device"] == "cpu (3 devices, 2 processes)"


def test_where_one_process_fails_all_do(port: int) -> None:
    (code, out, err), (other_code, other_out, other_err) = pair(port, of_one=("--data-dir", "missing"))
    assert (code, out, other_code, other_out) == (2, "", 2, "")
    assert "process 1 of 2" in err
    assert "basic_test.tsv" in other_err


# Joins the others, and then works alone or meets them again and again, until one of them is gone.
WORK = """
import sys, time
import numpy as np
from last_cli.base.errors import LastError
from last_cli.evaluation import processes

number, where, meets = sys.argv[1:]
processes.connect(where, 2, int(number), device="cpu")
try:
    processes.gather(np.ones(1))
    print("joined", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.05)
        if meets == "meets":
            processes.gather(np.ones(1))
except LastError as error:
    sys.stderr.write(f"error: {error.message}\\nhint: {error.hint}\\n")
    sys.exit(2)
"""


@pytest.mark.parametrize(("dies", "meets"), [(0, "alone"), (1, "meets")])
def test_where_one_dies_the_others_end_in_words(port: int, dies: int, meets: str) -> None:
    where = f"127.0.0.1:{port}"
    both = [
        subprocess.Popen([sys.executable, "-c", WORK, number, where, meets], stderr=subprocess.PIPE, text=True)
        for number in "01"
    ]
    for process in both:
        assert process.stderr is not None
        assert process.stderr.readline() == "joined\n"
    both[dies].kill()
    _, err = both[1 - dies].communicate(timeout=60)
    both[dies].communicate()
    lines = err.splitlines()
    assert (both[1 - dies].returncode, len(lines)) == (2, 2), err
    assert lines[0] == "error: another process ended, or cannot be reached any more"
    assert lines[1].startswith("hint: ")


def test_the_environment_of_slurm_is_known(run: Run, port: int) -> None:
    cluster = {"SLURM_JOB_ID": str(port), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    plain = EVAL[:-2]
    both = [start(*plain, "--distributed", **cluster, SLURM_PROCID=i, SLURM_LOCALID=i) for i in "01"]
    (code, out, err), other = [(process.wait(), *process.communicate()) for process in both]
    assert (code, *other) == (0, 0, "", ""), (err, other)
    assert same(json.loads(out), data(run, *plain))


@pytest.mark.parametrize("number", ["0", "1"])
def test_waiting_for_the_others_has_an_end(port: int, number: str) -> None:
    where = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process-id", number)
    process = start(*EVAL, *where, "--connect-timeout", "1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    lines = err.splitlines()
    assert f"127.0.0.1:{port} within 1 s" in lines[0]
    assert lines[1].startswith("hint: ")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--processes", "2"), "given together"),
        (("--coordinator", "here", "--processes", "2", "--process-id", "0"), "HOST:PORT"),
        (("--coordinator", "here:1", "--processes", "2", "--process-id", "2"), "expected 0 to 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(run: Run, arguments: tuple[str, ...], wanted: str) -> None:
    assert wanted in fails(run, *EVAL, *arguments)[0]


def test_without_a_cluster_the_flags_are_named() -> None:
    process = start(*EVAL, "--distributed")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "--coordinator HOST:PORT" in err
