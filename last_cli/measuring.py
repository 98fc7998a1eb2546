"""A checkpoint's answers to every sequence of a split, on all devices.

Sequences are spread over all devices (on a CPU, one device a core), and each device runs them a few at a time: small
batches stay in a CPU's cache. One program serves CPU, GPU and several devices.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.errors import UsageError, inside
from last_cli.loading import Checkpoint
from last_cli.results import Measured, Progress
from last_cli.spec import ModelSpec, Tree, read_spec
from last_cli.tasks.task import Split

CPU_MICRO_BATCH, ACCELERATOR_BATCH = 4, 64
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


def measure(
    checkpoint: Checkpoint, data: Split, request: Request, what: str = "", progress: Progress | None = None
) -> Measured:
    """Predictions and losses of a checkpoint on every sequence of a split."""
    devices = start_devices(request.device)
    spec = model_spec(checkpoint)
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compiled(
    checkpoint: Checkpoint, spec: ModelSpec, data: Split, devices: list[Any], rounds: int, micro: int
) -> Callable[[np.ndarray, np.ndarray], Any]:
    """A function from a chunk of sequences and lengths to log-probabilities, compiled ahead of the clock."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from last_cli.model import Classifier, prepared_systems

    mesh = Mesh(np.array(devices), ("data",))
    shared, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    systems = {layer.name.split("/")[-2]: checkpoint.system(layer) for layer in checkpoint.layers}
    variables = jax.device_put(
        read_variables(checkpoint) | {"system": prepared_systems(spec, systems, data.length)}, shared
    )
    model = Classifier(spec)

    def one_device(variables: Any, x: Any, lengths: Any) -> Any:
        x, lengths = x.reshape(rounds, micro, *x.shape[1:]), lengths.reshape(rounds, micro)
        out = jax.lax.map(lambda part: model.apply(variables, *part), (x, lengths))
        return out.reshape(rounds * micro, -1)

    sharded = jax.shard_map(
        one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("data"), PartitionSpec("data")),
        out_specs=PartitionSpec("data"),
        check_vma=False,
    )

    def place(x: np.ndarray, lengths: np.ndarray) -> tuple[Any, Any]:
        return jax.device_put(x, split), jax.device_put(lengths, split)

    chunk = len(devices) * rounds * micro
    with jax.default_matmul_precision("highest"):
        example = place(_slice(data.x, 0, chunk), _slice(_lengths(data), 0, chunk))
        run = jax.jit(sharded).lower(variables, *example).compile()
    return lambda x, lengths: run(variables, *place(x, lengths))


def model_spec(checkpoint: Checkpoint) -> ModelSpec:
    with inside(checkpoint.index.location.path):
        return read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)


def read_variables(checkpoint: Checkpoint) -> dict[str, Any]:
    """The classifier's variables, nested, in single precision."""
    keys = Tree.of(checkpoint.layers).variables({k: k for k, f in checkpoint.leaves.items() if f.kind == "array"})
    arrays, nested = checkpoint.read(keys.values()), {}
    for path, key in keys.items():
        node = nested
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = arrays[key].astype(np.float32)
    return nested


def _lengths(data: Split) -> np.ndarray:
    return np.full(len(data.y), data.length, np.int32) if data.lengths is None else data.lengths


def _slice(array: np.ndarray, first: int, count: int) -> np.ndarray:
    """`count` rows from `first`, filled up with the last one."""
    part = array[first : first + count]
    missing = count - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
