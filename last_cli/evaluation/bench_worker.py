"""The process that runs one checkpoint for `last bench`: reads requests, a line of JSON each, and answers in lines."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import LastError
from last_cli.checkpoint.checkpoint import load
from last_cli.evaluation import inputs
from last_cli.evaluation.devices import device_name, refuse_useless, start_devices
from last_cli.evaluation.measure import micro_batch


def main() -> None:
    """Answer until stdin ends. The first request says what to run, the others how many batches."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    try:
        batch = None
        for line in sys.stdin:
            request = json.loads(line)
            if batch is None:
                batch, answer = _prepare(request)
            else:
                answer = {"seconds": _run(batch, request["batches"]), "peak_bytes": _peak(batch[0])}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    except LastError as error:
        answers.write(
            json.dumps({"error": type(error).__name__, "message": error.args[0], "hint": error.args[1]}) + "\n"
        )
    except (MemoryError, RuntimeError) as error:  # of numpy, and of JAX
        if os.environ.get("LAST_DEBUG") == "1":
            raise
        said = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        answers.write(json.dumps({"failure": said}) + "\n")
    except KeyboardInterrupt:
        sys.exit(130)


def _prepare(request: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Devices, program and inputs, compiled and run once."""
    devices = start_devices(request["device"])
    refuse_useless(request["precision"], devices)
    from last_cli.evaluation.program import Batching, build

    started, size = time.perf_counter(), request["batch"]
    checkpoint = load(request["path"], **request["options"])
    chosen = inputs.random(checkpoint, size, length=request["length"])
    micro = min(micro_batch(devices), -(-size // len(devices)))
    rounds = -(-size // (len(devices) * micro))
    batching = Batching(chosen.x.shape[1:], chosen.x.dtype, micro, rounds)
    program = build(checkpoint, devices, batching, request["precision"])
    seconds = time.perf_counter() - started
    lengths = np.full(chosen.samples, request["length"], np.int32)
    program.start(chosen.x, lengths)()
    kind = _processor() if devices[0].platform == "cpu" else devices[0].device_kind
    answer = {
        "compile_seconds": seconds,
        "program_bytes": program.bytes,
        "device": device_name(devices[0], len(devices)).replace("cpu", kind, 1),
    }
    return (devices, program, chosen.x, lengths), answer


def _run(batch: tuple[Any, ...], count: int) -> list[float]:
    """Seconds of so many batches, after one that brings everything back into the caches."""
    _, program, x, lengths = batch
    seconds = []
    for _ in range(count + 1 if count else 0):
        started = time.perf_counter()
        program.start(x, lengths)()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def _peak(devices: list[Any]) -> int:
    """Bytes: of an accelerator, what JAX took of its memory at most; of a CPU, what this process did."""
    stats = [device.memory_stats() for device in devices]
    if all(found and "peak_bytes_in_use" in found for found in stats):
        return max(int(found["peak_bytes_in_use"]) for found in stats)
    status = Path("/proc/self/status")
    if status.exists():  # of this process alone, where getrusage counts what it was forked from
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    """The CPU's name, else its kind."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
