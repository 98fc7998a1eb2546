"""What holds for every command line: exit codes, errors, and the ways to start it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import DIGITS, S5, UNSTABLE, Run, fails

import last_cli as last


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
        (["prune", S5], "none of --ratio, --max-drop, --max-increase and --max-error", "--ratio 0.33"),
        (["prune", S5, "--ratio", "0.1", "--max-drop", "1"], "several of --ratio", "--ratio 0.33"),
        (["prune", S5, "--max-drop", "nan"], "--max-drop is nan, expected 0 or more", "half a percentage point"),
        (["prune", S5, "--max-error", "-1"], "--max-error is -1, expected 0 or more", "--max-error 0.004"),
        (["score", S5, "--item", "state"], "has no items", "leave --item out"),
        (["score", S5, "--plot", "no/such/poles.svg"], "there is no directory no/such", "mkdir -p no/such"),
        (["score", S5, "--format", "xml"], "'--format': 'xml' is not one of 'table'", "last score --help"),
        (["eval", S5, "--task", "listops", "--min-accuracy", "150"], "--min-accuracy is 150 %", "60 percent"),
        (["prune", S5, "--ratio", "x"], "invalid value for '--ratio': expected a valid number", "last prune --help"),
        (["score", S5, "--seed", "1.5"], "invalid value for '--seed': expected a valid integer", "last score --help"),
        (["bench", S5, "--batch", "0"], "'--batch': expected a value greater than or equal to 1", "last bench --help"),
        (["score", f"{S5}s"], "s5-listopss: no such file or directory", "did you mean 's5-listops'? check the path"),
        (["prune", S5, "--ratio", "0.3", "--min-states", "-1"], "min-states is -1", "lose all its states"),
        (["prune", S5, "--ratio", "0.3", "-o", S5], "the output is the input", "-o"),
        (["score", UNSTABLE], "state", "--clip-eigs"),
        (["eval", S5, "--task", "listop"], "unknown task 'listop'", "did you mean 'listops'?"),
        (["eval", S5, "--task", "digits"], "the encoder takes 20 inputs", "--task"),
        (["eval", DIGITS, "--task", "listops"], "the encoder takes 1 input but", "--task"),
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
    assert run("score", S5, "-q") == (130, "", "error: interrupted\nhint: nothing is left half-written: run it again\n")


# Sends itself a signal when a module is first imported, when arrays have been written, or where no exception is heard.
# What Python does at its very end may crash, beside threads of JAX: here it does.
SIGNALLED = """
import atexit, os, sys, time

atexit.register(os.abort)

moment, number, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = "last"

class Finder:
    def find_spec(self, name, *_):
        if name == moment:
            os.kill(os.getpid(), int(number))

class Lost:
    def __del__(self):
        os.kill(os.getpid(), int(number))

sys.meta_path.insert(0, Finder())
from last_cli.__main__ import run

if moment == "writing":
    import last_cli.formats.orbax.mirror as mirror
    write = mirror.write_arrays
    mirror.write_arrays = lambda *given: (write(*given), os.kill(os.getpid(), int(number)))
if moment == "lost":
    import last_cli.formats.orbax.mirror as mirror
    def lost(*given):
        Lost()
        time.sleep(60)
    mirror.write_arrays = lost
sys.exit(run())
"""


@pytest.mark.parametrize(
    ("number", "moment", "line"),
    [
        (signal.SIGINT, "last_cli.base.errors", "interrupted"),
        (signal.SIGINT, "typer", "interrupted"),
        (signal.SIGTERM, "lost", "ended by SIGTERM"),
        (signal.SIGINT, "writing", "interrupted"),
        (signal.SIGTERM, "writing", "ended by SIGTERM"),
    ],
)
def test_a_signal_ends_it_in_two_lines_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, moment: str, line: str
) -> None:
    command = [sys.executable, "-c", SIGNALLED, moment, str(int(number))]
    arguments = ["prune", S5, "--ratio", "0.3", "-o", tmp_path / "out", "-q"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == f"error: {line}\nhint: nothing is left half-written: run it again\n"
    assert not list(tmp_path.iterdir())


def test_the_three_ways_to_start_it_are_one_program() -> None:
    program = [sys.executable, "-m", "last_cli", "--version"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == f"last {last.__version__}\n"
    for script in ("last", "last-cli"):
        if path := shutil.which(script, path=str(Path(sys.executable).parent)):
            done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
            assert done.stdout == f"last {last.__version__}\n"
