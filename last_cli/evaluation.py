"""A model on a task's split: accuracy, loss, speed, and the paired difference to a baseline.

Sequences are spread over all devices (on a CPU, one device a core), and each device runs them a few at a time: small
batches stay in a CPU's cache. One program serves CPU, GPU and several devices.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli import registry
from last_cli.errors import DataError, UsageError, inside
from last_cli.loading import Checkpoint, load
from last_cli.results import Comparison, EvalReport, Gate, Measured, Progress
from last_cli.spec import ModelSpec, Tree, read_spec
from last_cli.tasks.task import Split, Task

MODEL_OPTIONS = ("activation", "prenorm", "mode", "padded")
CPU_MICRO_BATCH, ACCELERATOR_BATCH = 1, 64
STEPS_A_CALL = 8


@dataclass(frozen=True)
class Request:
    """What to evaluate on, and where: see `evaluate`."""

    task: str
    split: str = "test"
    data_dir: Path | None = None
    limit: int | None = None
    batch_size: int | None = None
    device: str | None = None


def evaluate(
    checkpoint: Checkpoint,
    task: str,
    *,
    split: str = "test",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    baseline: Checkpoint | str | Path | None = None,
    min_accuracy: float | None = None,
    max_drop: float | None = None,
    progress: Progress | None = None,
) -> EvalReport:
    """Accuracy of a checkpoint on a task, and against a baseline on the same sequences.

    Args:
        task: a name of the registry, or a file of arrays: FILE.npz.
        data_dir: where the task's files are; without it the task finds or makes its own.
        limit: only the first so many sequences.
        batch_size: sequences that a device takes at a time.
        device: "cpu", "gpu" or "tpu"; by default what JAX prefers.
        min_accuracy: gate, a fraction.
        max_drop: gate, percentage points that the accuracy may lie below the baseline's.
        progress: called with what is being done, and how many of how many are done.

    Raises:
        CheckpointError: the tree is no classifier that can be built.
        DataError: the task's files are missing, or do not fit the model.
        UsageError: unknown names, or a gate without its baseline.
    """
    if max_drop is not None and baseline is None:
        raise UsageError("--max-drop compares with a baseline, and none is given", "add --baseline CKPT")
    request = Request(task, split, Path(data_dir) if data_dir else None, limit, batch_size, device)
    chosen: Task = registry.get("tasks", task)
    settings = _settings(checkpoint, task)
    data = _load(chosen, request, settings, progress)
    checkpoint = follow_task(checkpoint, data)
    measured = measure(checkpoint, data, request, "evaluate", progress)
    comparison = None
    if baseline is not None:
        other = baseline if isinstance(baseline, Checkpoint) else load(baseline)
        if _settings(other, task) not in ({}, settings) and settings:
            raise UsageError(
                f"{other.source.path} was trained on another {task} task than {checkpoint.source.path}",
                "a baseline is compared on the same sequences: take the checkpoint that this one was made from",
            )
        comparison = Comparison.of(
            other.source.path, measured, measure(follow_task(other, data), data, request, "baseline", progress)
        )
    described: dict[str, Any] = {"name": task, "version": chosen.version, "split": split, "source": data.source}
    if limit is not None:
        described["limit"] = limit
    return EvalReport(
        checkpoint=checkpoint.source,
        task=described | {"length": data.length},
        measured=measured,
        assumed=checkpoint.assumed((*checkpoint.layer_options, *MODEL_OPTIONS)),
        baseline=comparison,
        gates=_gates(measured, comparison, min_accuracy, max_drop),
        notes=[*checkpoint.source.notes, data.note],
    )


def measure(
    checkpoint: Checkpoint, data: Split, request: Request, what: str = "", progress: Progress | None = None
) -> Measured:
    """Predictions and losses of a checkpoint on every sequence of a split."""
    devices = start_devices(request.device)
    spec = _spec(checkpoint)
    _check_fit(checkpoint, spec, data)
    micro = request.batch_size or (CPU_MICRO_BATCH if devices[0].platform == "cpu" else ACCELERATOR_BATCH)
    rounds = max(1, min(STEPS_A_CALL, -(-len(data.y) // (len(devices) * micro))))
    chunk = len(devices) * rounds * micro
    predict = _compiled(checkpoint, spec, data, devices, rounds, micro)
    logits, started = [], time.perf_counter()
    for first in range(0, len(data.y), chunk):
        logits.append(predict(_slice(data.x, first, chunk), _slice(_lengths(data), first, chunk)))
        if len(logits) > 1:
            logits[-2] = np.asarray(logits[-2])
        if progress:
            progress(what, min(first + chunk, len(data.y)), len(data.y))
    answers = np.concatenate([np.asarray(part) for part in logits])[: len(data.y)].astype(np.float64)
    seconds = time.perf_counter() - started
    predicted = answers.argmax(axis=-1)
    losses = -np.take_along_axis(answers, data.y[:, None].astype(np.int64), axis=1)[:, 0]
    return Measured(predicted, predicted == data.y, losses, seconds, device_name(devices))


def build_model(checkpoint: Checkpoint) -> tuple[Any, dict[str, Any]]:
    """A Flax module for the checkpoint and its variables, for inference or fine-tuning; see model.Classifier.

    Raises:
        CheckpointError: the tree is no classifier that can be built.
    """
    import jax

    from last_cli.model import Classifier

    spec = _spec(checkpoint)
    return Classifier(spec), jax.tree.map(jax.numpy.asarray, _variables(checkpoint))


def follow_task(checkpoint: Checkpoint, data: Split) -> Checkpoint:
    """The checkpoint with `padded` as the task has it, where nothing else decides: so does the S5 code."""
    if checkpoint.sources["padded"] != "assumed":
        return checkpoint
    return replace(checkpoint, config=replace(checkpoint.config, padded=data.lengths is not None))


def start_devices(device: str | None) -> list[Any]:
    """The devices to run on, those of JAX's choice or of one kind; of a CPU, one a core, unless JAX is already running.

    Raises:
        UsageError: there is no such device.
    """
    if device == "cpu" and "jax" not in sys.modules:
        os.environ["JAX_PLATFORMS"] = "cpu"  # else it would take a GPU's memory as well
    import jax

    with contextlib.suppress(RuntimeError):  # already running: its devices stay as they are
        jax.config.update("jax_num_cpu_devices", _cores())
    try:
        return jax.devices(device)
    except RuntimeError as error:
        raise UsageError(
            f"no {device or 'device'} was found by JAX: {str(error).splitlines()[0]}",
            "pip install 'last-cli[cuda13]' (or cuda12) brings the GPU build; --device cpu always works",
        ) from error


def device_name(devices: list[Any]) -> str:
    """For example "cpu (4 devices)" or "NVIDIA H100 80GB HBM3"."""
    kind = "cpu" if devices[0].platform == "cpu" else devices[0].device_kind
    return kind if len(devices) == 1 else f"{kind} ({len(devices)} devices)"


def _spec(checkpoint: Checkpoint) -> ModelSpec:
    with inside(checkpoint.index.location.path):
        return read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compiled(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    data: Split,
    devices: list[Any],
    rounds: int,
    micro: int,
    precision: str = "float32",
) -> Callable[[np.ndarray, np.ndarray], Any]:
    """A function from a chunk of sequences and lengths to log-probabilities, compiled ahead of the clock."""
    from jax import ShapeDtypeStruct

    from last_cli.folding import fold
    from last_cli.program import predictor

    systems = {layer.name.split("/")[-2]: checkpoint.system(layer) for layer in checkpoint.layers}
    params = fold(spec, _variables(checkpoint), systems, data.length, precision)
    chunk = len(devices) * rounds * micro
    shapes = (ShapeDtypeStruct((chunk, *array.shape[1:]), array.dtype) for array in (data.x, _lengths(data)))
    return predictor(spec, params, devices, rounds, micro, *shapes)


def _variables(checkpoint: Checkpoint) -> dict[str, Any]:
    """The classifier's variables, nested, in single precision."""
    keys = Tree.of(checkpoint.layers).variables({k: k for k, f in checkpoint.leaves.items() if f.kind == "array"})
    arrays, nested = checkpoint.read(keys.values()), {}
    for path, key in keys.items():
        node = nested
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = arrays[key].astype(np.float32)
    return nested


def _load(task: Task, request: Request, settings: Mapping[str, Any], progress: Progress | None) -> Split:
    tell = (lambda done, total: progress(f"load {task.name}", done, total)) if progress else None
    return task.load(request.split, data_dir=request.data_dir, settings=settings, limit=request.limit, progress=tell)


def _settings(checkpoint: Checkpoint, task: str) -> dict[str, Any]:
    """What the checkpoint says of this task; nothing where it was trained on another."""
    said = checkpoint.stamp.get("task") or {}
    return dict(said) if said.get("name") == task else {}


def _check_fit(checkpoint: Checkpoint, spec: ModelSpec, data: Split) -> None:
    path = checkpoint.source.path
    if data.documents != spec.documents:
        takes = "one sequence" if spec.documents == 1 else "two sequences"
        raise DataError(
            f"{path}: the model takes {takes} a sample but the task has {data.documents}",
            "the checkpoint was trained on something else: choose its --task",
        )
    width = (len(data.vocabulary or ()) or int(data.x.max()) + 1) if data.tokens else data.x.shape[2]
    if (width > spec.d_input) if data.tokens else (width != spec.d_input):
        kind = "tokens in its vocabulary" if data.tokens else "features a step"
        raise DataError(
            f"{path}: the encoder takes {spec.d_input} inputs but the task has {width} {kind}",
            "the checkpoint was trained on something else: choose its --task",
        )
    # A user's arrays need not have a sample of every class.
    if (data.classes > spec.d_output) if data.source == "arrays" else (data.classes != spec.d_output):
        raise DataError(
            f"{path}: the decoder has {spec.d_output} classes but the task has {data.classes}",
            "the checkpoint was trained on something else: choose its --task",
        )


def _lengths(data: Split) -> np.ndarray:
    return np.full(len(data.y), data.length, np.int32) if data.lengths is None else data.lengths


def _slice(array: np.ndarray, first: int, count: int) -> np.ndarray:
    """`count` rows from `first`, filled up with the last one."""
    part = array[first : first + count]
    missing = count - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part


def _gates(
    measured: Measured, comparison: Comparison | None, min_accuracy: float | None, max_drop: float | None
) -> list[Gate]:
    gates = []
    if min_accuracy is not None:
        gates.append(Gate("min_accuracy", min_accuracy, measured.accuracy, measured.accuracy >= min_accuracy))
    if max_drop is not None and comparison is not None:
        points = 100 * comparison.drop
        gates.append(Gate("max_drop", max_drop, points, points <= max_drop + 1e-9))
    return gates
