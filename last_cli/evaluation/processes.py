"""Several processes as one, on one host or many: each does its share, and JAX's runtime brings the results together.

Where one ends without a word, the others end within a minute, with an error that says so.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TextIO, TypeVar

import numpy as np

from last_cli.base.errors import LastError, UsageError, spelled
from last_cli.evaluation.devices import configure

T = TypeVar("T")

HEARTBEAT = 30
"""Seconds without a sign of life after which a process is taken for dead."""

_LOST = (
    "another process ended, or cannot be reached any more",
    "its own error, on its own stderr or in the log of the cluster, says why; rerun with ⟦resume⟧ to continue",
)


class HostError(LastError):
    """Another process could not do its share."""


def connect(
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    *,
    device: str | None = None,
    timeout: float = 120,
) -> bool:
    """Join the other processes; before anything else of JAX. Returns whether this one, number 0, reports.

    Where nothing is given, the environment of SLURM, Open MPI or another cluster that JAX knows decides.

    Args:
        coordinator: "HOST:PORT" of process 0, where the others can reach it.
        processes: how many they are.
        process_id: which one this is, from 0.
        device: where to run: "cpu", "gpu" or "tpu"; by default what JAX prefers.
        timeout: seconds to wait for the others.

    Raises:
        UsageError: the numbers make no sense, there is no cluster to ask, or not all processes came in time.
    """
    _check(coordinator, processes, process_id)
    _keep_outputs()
    _end_in_words()
    configure(device)
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # It would take SIGTERM for itself.
    failure: list[Exception] = []

    def join() -> None:
        try:
            # Where time runs out, the runtime would end the process: let it wait longer than we do.
            jax.distributed.initialize(
                coordinator,
                processes,
                process_id,
                initialization_timeout=int(timeout) + 600,
                heartbeat_timeout_seconds=HEARTBEAT,
            )
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    thread.join(timeout)
    if failure:
        raise UsageError(
            f"the processes cannot be joined: {str(failure[0]).splitlines()[0]}",
            "without a cluster that JAX knows, give each process ⟦coordinator HOST:PORT⟧ ⟦processes N⟧ ⟦process_id I⟧",
        ) from failure[0]
    if thread.is_alive():
        where = coordinator or "the address that the cluster names"
        raise UsageError(
            f"not all processes were joined at {where} within {timeout:g} s",
            "start them all, where they can reach that address, with the same ⟦coordinator⟧ and ⟦processes⟧, "
            "and each with a ⟦process_id⟧ of its own from 0",
        )
    return jax.process_index() == 0


def count() -> int:
    """How many processes there are. Asking for it starts no device."""
    jax = sys.modules.get("jax")
    return jax.process_count() if jax and jax.distributed.is_initialized() else 1


def share(parts: int, device: str | None) -> range:
    """Those of so many equal parts that this process takes: its share of all devices, and none twice."""
    if count() == 1:
        return range(parts)
    import jax

    devices = Counter(each.process_index for each in jax.devices(device))
    before = sum(devices[process] for process in range(jax.process_index()))
    after, total = before + devices[jax.process_index()], devices.total()
    return range(parts * before // total, parts * after // total)


def together(work: Callable[[], T]) -> T:
    """The result of this process's work; all processes do theirs, and where one fails all do.

    Raises:
        HostError: another process failed.
    """
    if count() == 1:
        return work()
    try:
        result, failure = work(), None
    except Exception as error:
        result, failure = None, error
    failed = np.flatnonzero(gather(np.array([failure is not None], np.int32)))
    if failure is not None:
        raise failure
    if len(failed):
        raise HostError(
            f"process {failed[0]} of {count()} could not do its share", "its own error, on its own stderr, says why"
        )
    return result  # pyright: ignore[reportReturnType]


def gather(array: np.ndarray) -> np.ndarray:
    """The arrays of all processes, which have one shape and type, along a new first axis; of one process, its own.

    Raises:
        HostError: another process is gone.
    """
    if count() == 1:
        return array[None]
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    firsts = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([firsts[process] for process in range(count())]), ("process",))
    words = np.ascontiguousarray(array).view(np.uint8)  # JAX would make single precision of float64
    split, whole = NamedSharding(mesh, PartitionSpec("process")), NamedSharding(mesh, PartitionSpec())
    spread = jax.make_array_from_process_local_data(split, words[None])
    try:
        joined = jax.jit(lambda parts: parts, out_shardings=whole)(spread)
        return np.asarray(joined.addressable_data(0)).view(array.dtype)
    except jax.errors.JaxRuntimeError as error:
        _told.set()
        atexit.register(_leave)
        raise HostError(*_LOST) from error


def concatenate(own: Sequence[np.ndarray], total: int, dtype: type[np.generic]) -> np.ndarray:
    """The parts of all processes one after the other, `total` entries."""
    joined = np.concatenate([*own, np.zeros(0, dtype)]).astype(dtype)
    padded = np.concatenate([joined, np.zeros(total - len(joined), dtype)])
    counts = gather(np.array([len(joined)], np.int64))[:, 0]
    return np.concatenate([part[:length] for part, length in zip(gather(padded), counts, strict=True)])


def _check(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    hint = "for example ⟦coordinator node0:9876⟧ ⟦processes 2⟧ ⟦process_id 0⟧"
    given = [value is not None for value in (coordinator, processes, process_id)]
    if any(given) and not all(given):
        raise UsageError("⟦coordinator⟧, ⟦processes⟧ and ⟦process_id⟧ are given together or not at all", hint)
    if coordinator is None or processes is None or process_id is None:
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"⟦coordinator⟧ is '{coordinator}', expected HOST:PORT", hint)
    if not 0 <= process_id < processes:
        raise UsageError(f"⟦process_id⟧ is {process_id}, expected 0 to {processes - 1}", hint)


_told = threading.Event()
"""Set where the error is reported that another process is gone."""

_handlers: list[Any] = []


def _keep_outputs() -> None:
    """From now on only Python writes to stdout and stderr: the runtime and its collectives have much to say there."""
    sys.stdout, sys.stderr = _kept(sys.stdout, 1), _kept(sys.stderr, 2)


def _kept(stream: TextIO, number: int) -> TextIO:
    stream.flush()
    kept, nothing = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)
    return os.fdopen(kept, "w", encoding=stream.encoding, buffering=1)


def _leave() -> None:
    """Ends this process before the runtime takes its leave of the others, for which it would wait."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(LastError.code)


def _end_in_words() -> None:
    """JAX's runtime aborts this process where another one is gone. A handler in Python would run after the end."""
    said = "error: {}\nhint: {}\n".format(*map(spelled, _LOST)).encode()
    stderr = sys.stderr.fileno()

    def aborted(_: int) -> None:
        if not _told.is_set():
            os.write(stderr, said)
        os._exit(LastError.code)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
    _handlers.append(handler)  # As long as it may be called.
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)
