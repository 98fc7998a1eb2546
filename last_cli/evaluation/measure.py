"""A checkpoint's answers to every sequence of a split: on all devices, and of several processes each its share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from last_cli.base.arrays import digest
from last_cli.base.errors import CheckpointError, UsageError, spelled
from last_cli.base.progress import Progress
from last_cli.base.version import __version__
from last_cli.base.words import some
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import flat_variables, model_spec, network_of, variables_digest
from last_cli.evaluation import processes
from last_cli.evaluation.devices import device_name, start_devices
from last_cli.evaluation.metrics import Metric, metric_of
from last_cli.evaluation.resume import NOTHING_LEFT, Batch, Kept, Session
from last_cli.families.network import Network
from last_cli.results.evaluation import Measured
from last_cli.tasks.find import find
from last_cli.tasks.task import Split

if TYPE_CHECKING:
    from last_cli.evaluation.program import Program

CPU_MICRO_BATCH, ACCELERATOR_BATCH = 1, 64
STEPS_A_CALL = 8


@dataclass(frozen=True)
class Request:
    """What to evaluate on, and how.

    Attributes:
        task: a name of the registry, or a file: FILE.npz of arrays, FILE.txt of text.
        data_dir: where the task's files are; without it the task finds or makes its own.
        limit: use only the first so many sequences.
        batch_size: sequences that a device takes at a time.
        device: "cpu", "gpu" or "tpu"; by default what JAX prefers.
        precision: "float32", or "bfloat16": `evaluate` then runs the model in both, and the report compares; on a CPU
            it refuses that.
        window, stride: of tasks of texts; see tasks.language.

    Raises:
        UsageError: a batch of no sequences.
    """

    task: str
    split: str = "test"
    data_dir: str | Path | None = None
    limit: int | None = None
    batch_size: int | None = None
    device: str | None = None
    precision: str = "float32"
    window: int | None = None
    stride: int | None = None

    @property
    def settings(self) -> dict[str, int]:
        """The task's own options, those that are given."""
        return {name: value for name in ("window", "stride") if (value := getattr(self, name)) is not None}

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"⟨batch_size⟩ is {self.batch_size}, expected at least 1", "leave it out for the default")


def measure(
    checkpoint: Checkpoint,
    data: Split,
    request: Request,
    what: str = "",
    progress: Progress | None = None,
    session: Session | None = None,
) -> Measured:
    """Predictions and losses of a checkpoint on every sequence of a split.

    The split goes in batches, which no number of devices or processes changes, nor an interruption. With a session,
    what is found is kept while it goes on, and what was kept may be taken up.

    Raises:
        CheckpointError: the tree is no model that can be built, or its outputs are not finite.
    """
    devices = start_devices(request.device)
    metric = metric_of(find(request.task))
    judged = partial(_batch, network_of(checkpoint), metric)
    size = request.batch_size or micro_batch(devices)
    mine = processes.share(-(-len(data.y) // size), request.device)
    kept, found = processes.together(lambda: _take_up(session, checkpoint, data, request, size, mine, what))
    resumed, advance = _rows_of(found), progress or (lambda what, done, total: None)
    total = min(mine.stop * size, len(data.y)) - min(mine.start * size, len(data.y))

    def run() -> float:
        todo = [number for number in mine if number not in found]
        if not todo:
            return 0.0
        done = _rows_of(found)
        advance(what, done, total)
        program = _program(checkpoint, data, request, devices, size)
        started = time.perf_counter()
        for number, batch in _answers(program, data, todo, judged):
            found[number] = batch
            if kept:
                kept.add(number, _digest(data, number, size), batch)
            done += len(batch.losses)
            advance(what, done, total)
        return time.perf_counter() - started

    try:
        seconds = processes.together(run)
    finally:
        if kept:
            kept.flush()
    parts = [found[number] for number in mine]
    losses = processes.concatenate([part.losses for part in parts], len(data.y), np.float64)
    predicted = processes.concatenate([part.predicted for part in parts], len(data.y), np.int32)
    results = processes.concatenate([part.results for part in parts], len(data.y), np.float64)
    refuse_broken(checkpoint, int((~np.isfinite(losses)).sum()), len(losses), what)
    weights = np.ones(len(losses), np.int64) if data.weights is None else data.weights.astype(np.int64)
    every = processes.gather(np.array([seconds, resumed, len(devices)], np.float64))
    return Measured(
        metric.name,
        metric.value(results, weights),
        metric.stderr(results, weights),
        predicted,
        results,
        losses,
        seconds=float(every[:, 0].max()),
        device=device_name(devices[0], int(every[:, 2].sum()), len(every)),
        resumed=int(every[:, 1].sum()),
        weights=weights,
        said=metric.said(results, weights, {unit: int(counts.sum()) for unit, counts in data.text.items()}),
    )


def refuse_broken(checkpoint: Checkpoint, broken: int, total: int, what: str = "") -> None:
    """Raises CheckpointError where the logits of any sequences are not finite; says of how many."""
    if not broken:
        return
    arrays = ["/".join(path) for path, array in flat_variables(checkpoint).items() if not np.isfinite(array).all()]
    raise CheckpointError(
        f"{checkpoint.source.path}: the logits of {broken:,} of {total:,} sequences are not finite"
        f"{f' ({what})' if what else ''}{f'; neither are numbers of {some(arrays)}' if arrays else ''}",
        "the training diverged, or the file is damaged: use another step",
    )


def micro_batch(devices: Sequence[Any]) -> int:
    """How many sequences a device takes side by side: on a CPU few, which stay in its cache."""
    return CPU_MICRO_BATCH if devices[0].platform == "cpu" else ACCELERATOR_BATCH


def _take_up(
    session: Session | None, checkpoint: Checkpoint, data: Split, request: Request, size: int, mine: range, what: str
) -> tuple[Kept | None, dict[int, Batch]]:
    """Where results are kept, and those of this process's share that an interrupted run left there."""
    kept = session.open(_key(checkpoint, data, request, size)) if session else None
    if session is None or kept is None:
        return None, {}
    stored = kept.find()
    if not (session.resume or kept.own):
        if stored:
            rows = _rows_of({number: batch for number, (_, batch) in stored.items()})
            line = f"an interrupted run left results of {rows:,} sequences ({what}); ⟦resume⟧ continues it"
            session.tell(spelled(line), "hint")
        return kept, {}
    found = {
        number: stored[number][1]
        for number in mine
        if number in stored and stored[number][0] == _digest(data, number, size)
    }
    if not kept.own:
        rows = f"resuming {what}: {_rows_of(found):,} of {len(data.y):,} sequences are done"
        session.tell(rows if found else NOTHING_LEFT, "")
    return kept, found


def _key(checkpoint: Checkpoint, data: Split, request: Request, size: int) -> dict[str, Any]:
    """What tells an evaluation from others, besides its data themselves: parameters, options, and where it runs."""
    device = start_devices(request.device)[0]
    return {
        "last": __version__,
        "parameters": variables_digest(checkpoint),
        "model": repr(model_spec(checkpoint)),
        "task": [request.task, request.split, len(data.y)],
        "batch": size,
        "precision": request.precision,
        "device": [device.platform, device.device_kind],
    }


def _program(checkpoint: Checkpoint, data: Split, request: Request, devices: Sequence[Any], size: int) -> Program:
    from last_cli.evaluation.program import Batching, build

    return build(checkpoint, devices, Batching(data.x.shape[1:], data.x.dtype, size, STEPS_A_CALL), request.precision)


def _answers(
    program: Program, data: Split, todo: Sequence[int], judged: Callable[..., Batch]
) -> Iterator[tuple[int, Batch]]:
    """Each batch's results; the next call is under way while the last one's are read."""
    size, at_once = program.micro, program.rows // program.micro
    groups = [todo[first : first + at_once] for first in range(0, len(todo), at_once)]
    before: tuple[Sequence[int], np.ndarray, Any] | None = None
    for group in [*groups, None]:
        under_way = None
        if group is not None:
            x, lengths, y = _inputs(data, group, size)
            under_way = (group, y, program.start(x, lengths))
        if before is not None:
            numbers, y, finish = before
            outputs = finish().astype(np.float64)
            for i, number in enumerate(numbers):
                rows = slice(i * size, (i + 1) * size)
                yield number, judged(outputs[rows], y[rows])
        before = under_way


def _batch(network: Network, metric: Metric, outputs: np.ndarray, labels: np.ndarray) -> Batch:
    """What is kept of a batch's outputs."""
    predicted = outputs.argmax(axis=-1).astype(np.int32)
    finite = np.isfinite(outputs).all(axis=tuple(range(1, outputs.ndim)))
    losses = np.where(finite, network.loss(outputs, labels), np.nan)
    return Batch(predicted, metric.results(outputs, labels, losses), losses)


def _inputs(data: Split, numbers: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences, lengths and labels of these batches; only a split's last batch may be smaller than the others."""
    rows = np.concatenate([np.arange(number * size, (number + 1) * size) for number in numbers])
    rows = rows[rows < len(data.y)]
    lengths = np.full(len(rows), data.length, np.int32) if data.lengths is None else data.lengths[rows]
    return data.x[rows], lengths, data.y[rows]


def _digest(data: Split, number: int, size: int) -> bytes:
    """What a batch's results are computed from."""
    return digest(("", array) for array in _inputs(data, [number], size))


def _rows_of(batches: Mapping[int, Batch]) -> int:
    return sum(len(batch.losses) for batch in batches.values())
