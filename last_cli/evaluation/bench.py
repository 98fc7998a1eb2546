"""How fast checkpoints run, on random inputs: latency of a batch, throughput and peak memory, and against the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base import errors
from last_cli.base.errors import LastError, UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.checkpoint.guess import guesses, told
from last_cli.evaluation import inputs
from last_cli.families.network import check_precision
from last_cli.results.bench import BenchReport, Timing

TURN = 5  # batches that a checkpoint runs before the next has its turn
SMALLER = "if memory ran out, give a smaller ⟦batch⟧ or ⟦length⟧"


@dataclass(frozen=True)
class BenchRequest:
    """How checkpoints are timed.

    Attributes:
        length: of the random sequences; by default the one that the first checkpoint was trained on.
        batch: sequences in a batch, spread over all devices.
        repeat: how many batches are timed.
        device: "cpu", "gpu" or "tpu"; by default what JAX prefers.
        precision: "float32", or on a GPU or a TPU "bfloat16".
    """

    length: int | None = None
    batch: int = 32
    repeat: int = 20
    device: str | None = None
    precision: str = "float32"


def bench(
    models: Sequence[Checkpoint | str | Path], request: BenchRequest, progress: Progress | None = None
) -> BenchReport:
    """Time checkpoints on the same random sequences of a length.

    Each runs in a process of its own, so that its peak memory is its own, and they take turns of a few batches, so that
    what else the machine does meets all of them. The first batch of a turn is not counted.

    Raises:
        CheckpointError: one cannot be read or run.
        UsageError: nothing to time, a checkpoint that is not on disk as it is, numbers that make no sense, or nothing
            tells the length.
    """
    checkpoints = [opened(model) for model in models]
    _check(checkpoints, request)
    batch, repeat = request.batch, request.repeat
    steps = request.length or inputs.random(checkpoints[0], 1).length
    turns = [min(TURN, repeat - done) for done in range(0, repeat, TURN)]
    asked = asdict(replace(request, length=steps))
    seconds: list[list[float]] = [[] for _ in checkpoints]
    with ExitStack() as stack:
        # One after the other up to here, as compiling takes all cores.
        workers = [stack.enter_context(_worker(checkpoint, asked)) for checkpoint in checkpoints]
        for turn in turns:
            for worker, found in zip(workers, seconds, strict=True):
                found += worker.ask({"batches": turn})["seconds"]
                if progress:
                    progress("bench", sum(map(len, seconds)), repeat * len(workers))
        ends = [worker.ask({"batches": 0}) for worker in workers]
    timings = [
        Timing(
            checkpoint.source,
            checkpoint.parameters,
            np.array(found),
            batch,
            worker.begun["compile_seconds"],
            worker.begun["program_bytes"],
            end["peak_bytes"],
        )
        for checkpoint, worker, found, end in zip(checkpoints, workers, seconds, ends, strict=True)
    ]
    warnings = [
        f"{found.source.path}: {line}"
        for found in checkpoints
        for line in (*found.index.warnings, *told(found, guesses(found)))
    ]
    return BenchReport(timings, steps, batch, repeat, request.precision, workers[0].begun["device"], warnings)


def _check(checkpoints: Sequence[Checkpoint], request: BenchRequest) -> None:
    if not checkpoints:
        raise UsageError("no checkpoint is given", '⟨last bench CKPT...|last.bench("ckpt")⟩')
    for name in ("length", "batch", "repeat"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise UsageError(f"⟨{name}⟩ is {value}, expected at least 1", f"leave out ⟦{name}⟧ for its default")
    check_precision(request.precision)
    for checkpoint in checkpoints:
        if checkpoint.changed or checkpoint.renamed:
            raise UsageError(
                f"{checkpoint.source.path} was changed since it was read, and each process reads its checkpoint itself",
                "save it first, and give the path",
            )


@dataclass(frozen=True)
class _Worker:
    """A process that runs one checkpoint; see bench_worker."""

    path: str
    process: subprocess.Popen[str]
    begun: dict[str, Any]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        return _ask(self.process, self.path, request)


@contextmanager
def _worker(checkpoint: Checkpoint, asked: dict[str, Any]) -> Iterator[_Worker]:
    location, path = checkpoint.index.location, checkpoint.source.path
    read = {"path": path, "options": {"step": location.step, "item": location.item, **checkpoint.said}}
    # A GPU's memory is taken as it is needed, which several processes can.
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
    command = [sys.executable, "-m", "last_cli.evaluation.bench_worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield _Worker(path, process, _ask(process, path, read | asked))
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                process.communicate()


def _ask(process: subprocess.Popen[str], path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send a line, and read one."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        line = ""
    else:
        line = process.stdout.readline()
    if not line:
        raise LastError(
            f"{path}: the process that ran it ended with code {process.wait()}",
            SMALLER,
        )
    answer = json.loads(line)
    if "failure" in answer:
        raise LastError(f"{path}: {answer['failure']}", SMALLER)
    if "error" in answer:
        raise getattr(errors, answer["error"], LastError)(answer["message"], answer["hint"])
    return answer
