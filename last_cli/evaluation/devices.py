"""The devices to run on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from last_cli.base.errors import UsageError

BUILDS = {
    "gpu": "pip install 'jax[cuda13]' (or cuda12) installs the GPU build",
    "tpu": "pip install 'jax[tpu]' brings the TPU build",
}


def start_devices(device: str | None) -> list[Any]:
    """This process's devices, those of JAX's choice or of one kind; of a CPU, one a core, unless JAX already runs.

    Raises:
        UsageError: there is no such device.
    """
    configure(device)
    import jax

    try:
        return jax.local_devices(backend=device)
    except RuntimeError as error:
        raise UsageError(
            f"no {device or 'device'} was found by JAX: {str(error).splitlines()[0]}",
            f"{BUILDS.get(device or '', 'another build of JAX may find one')}; ⟦device cpu⟧ always works",
        ) from error


def refuse_useless(precision: str, devices: Sequence[Any]) -> None:
    """Raises UsageError for a smaller precision on a CPU: it loses accuracy there, and gains no time."""
    if precision != "float32" and devices[0].platform == "cpu":
        raise UsageError(
            f"precision is {precision!r} on a CPU, where it is slower and less exact; expected float32",
            "leave out ⟦precision⟧; bfloat16 pays on a GPU or a TPU (⟦device gpu⟧). The part `precision` of "
            "tests/benchmarks/speed.py measures it",
        )


def configure(device: str | None) -> None:
    """Settings that JAX reads when it starts, without effect where it already runs; the environment's own win."""
    if device == "cpu" and "jax" not in sys.modules:
        os.environ["JAX_PLATFORMS"] = "cpu"  # else it would take a GPU's memory as well
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ and "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # already running: its devices stay as they are
            jax.config.update("jax_num_cpu_devices", _cores())


def device_name(device: Any, count: int = 1, processes: int = 1) -> str:
    """For example "cpu (4 devices)" or "NVIDIA H100 80GB HBM3 (16 devices, 2 processes)"."""
    kind = "cpu" if device.platform == "cpu" else device.device_kind
    many = [f"{count} devices"] * (count > 1) + [f"{processes} processes"] * (processes > 1)
    return f"{kind} ({', '.join(many)})" if many else kind


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
