"""How fast sequences are evaluated, beside the published algorithm written plainly and the matrix products alone.

    python tests/benchmarks/speed.py [--repeat 5] [--core 0] [--quick]
    python tests/benchmarks/speed.py --part length --against ../before    # another checkout's last, in the same run

Prints Markdown: milliseconds a sequence, median and range. Every part is a process of its own; in each, plain and last
take turns, and calls shorter than a second are timed after an untimed one. The plain S5 runs its published batch of 50
on all cores, and sequence by sequence on one. `limit` is the time of last's matrix products alone, run by XLA one after
the other. Weights are random, of the published shapes; `difference` is the largest between log-probabilities.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import plain
import random_models
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from random_models import Model

from last_cli.evaluation import program
from last_cli.families.lti.network import fold
from last_cli.families.lti.network.classifier import CLASSIFIER
from last_cli.families.network import PRECISIONS

PLAIN_BATCH, ROUNDS = 50, 8
LENGTHS = (1024, 2048, 4096, 8192, 16384)
BARS = {"s4d": 4.0, "length": 1.1}  # times faster than plain at batch 32; times the price of a step, at most
HEADER = "| | plain ms | last ms | times faster | limit ms | difference |\n|---|---|---|---|---|---|"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--core", type=int, default=0, help="the one that the one-core parts run on")
    parser.add_argument("--quick", action="store_true", help="one repetition, and ListOps alone on all cores")
    parser.add_argument("--part", choices=PARTS, help="this one alone")
    parser.add_argument("--against", type=Path, help="a checkout, whose last runs every part before")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
        PARTS[args.part](1 if args.quick else args.repeat, args.quick)
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "numpy"))
    machine = f"{_processor()}, {os.cpu_count()} cores"
    print(f"{time.strftime('%Y-%m-%d')}, {machine}, Python {platform.python_version()}, {versions}", flush=True)
    arguments = ["--repeat", str(args.repeat), *(["--quick"] if args.quick else [])]
    for part in [args.part] if args.part else PARTS:
        cores = {args.core} if part in ONE_CORE else os.sched_getaffinity(0)
        print(f"\n### {PARTS[part].__doc__} ({len(cores)} core{'s' if len(cores) > 1 else ''})", flush=True)
        for checkout in (*([args.against] if args.against else []), Path(__file__).parents[2]):
            print(f"\n{checkout}:\n" if args.against else "", flush=True)
            subprocess.run(
                [sys.executable, __file__, "--worker", "--part", part, *arguments],
                check=True,
                env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout.resolve())},
                preexec_fn=lambda cores=cores: os.sched_setaffinity(0, cores),
            )


def all_cores(repeat: int, quick: bool) -> None:
    """S5, the published batch"""
    print(HEADER)
    for task in ("listops",) if quick else ("listops", "image"):
        model = random_models.s5(task)
        _row(task, model, model, PLAIN_BATCH, PLAIN_BATCH, repeat)


def pruned(repeat: int, quick: bool) -> None:
    """S5 on Image, states cut out against the same states masked, sequence by sequence"""
    print(HEADER)
    for removed in (0.0, 0.33, 0.6, 0.8)[:: 3 if quick else 1]:
        masked = random_models.s5("image", removed, compact=False)
        name = f"{removed:.0%} removed"
        _row(name, random_models.s5("image", removed), masked, 4, 1, repeat)
        if removed:
            print(f"| {name}, masked in last | | {span(_alone(masked, 4, repeat))} | | | |", flush=True)


def s4d(repeat: int, quick: bool) -> None:
    """S4D of Image's size, 6 layers of 512 channels and 64 states"""
    print(HEADER)
    found: dict[int, float] = {}
    for removed, batch in ((0.0, 4),) if quick else ((0.0, 4), (0.0, 32), (0.33, 32), (0.6, 32), (0.8, 32)):
        model = random_models.s4d(removed)
        ratio = _row(f"batch {batch}, {removed:.0%} removed", model, model, batch, batch, repeat)
        found.setdefault(batch, ratio)
    batch, ratio = max(found.items())
    print(f"\nBatch {batch}: {ratio:.1f} times faster, {_judged(ratio >= BARS['s4d'], BARS['s4d'])}", flush=True)


def length(repeat: int, quick: bool) -> None:
    """S5 of Image's shape on longer and longer sequences, one at a time, and of Path-X's"""
    print("| | us a step | times the shortest's | MB a sequence |\n|---|---|---|---|")
    said = []
    for task, lengths in {"image": (1024, 2048) if quick else LENGTHS, "pathx": () if quick else (16384,)}.items():
        programs = {steps: _long(replace(random_models.s5(task), length=steps)) for steps in lengths}
        times: dict[int, list[float]] = {steps: [] for steps in lengths}
        for _ in range(repeat):  # in turns, and by CPU time, which other work on the machine lengthens less
            for steps, (call, _) in programs.items():
                count = max(1, ROUNDS * 1024 // steps)
                began = time.process_time()
                for _ in range(count):
                    call()
                times[steps].append(1e6 * (time.process_time() - began) / (count * steps))
        shortest, ratio = statistics.median(times[min(lengths)]) if lengths else 1, 1.0
        for steps, found in times.items():
            ratio = statistics.median(found) / shortest
            print(f"| {task}, {steps:,} steps | {span(found)} | {ratio:.2f} | {programs[steps][1]:.1f} |", flush=True)
        if len(times) > 1:
            bar = _judged(ratio <= BARS["length"], BARS["length"])
            said.append(f"{task}: {ratio:.2f} times the price of a step at {max(times):,}, {bar}")
    print("\n" + "\n".join(said), flush=True)


def precision(repeat: int, quick: bool) -> None:
    """bfloat16 beside float32, S5"""
    print("| | float32 ms | bfloat16 ms | times faster | difference |\n|---|---|---|---|---|")
    for task in ("listops",) if quick else ("listops", "image"):
        model = random_models.s5(task)
        calls = {name: _engine(model, len(jax.devices()) if quick else PLAIN_BATCH, name) for name in PRECISIONS}
        found = {name: np.asarray(call()) for name, (call, _) in calls.items()}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(repeat):
            for name, (call, many) in calls.items():
                times[name].append(1e3 * seconds(call) / many)
        exact, small = (times[name] for name in PRECISIONS)
        difference = np.abs(found["float32"] - found["bfloat16"]).max()
        ratio = statistics.median(exact) / statistics.median(small)
        print(f"| {task} | {span(exact)} | {span(small)} | {ratio:.2f} | {difference:.0e} |", flush=True)


def _long(model: Model) -> tuple[Callable[[], Any], float]:
    """last on a sequence, and how many MB that needs besides the parameters."""
    x, lengths = model.batch(1)
    params = fold.fold(model.spec, model.variables, model.systems, model.length)
    batching = program.Batching(x.shape[1:], x.dtype, micro=1, rounds=1)
    found = program.program(CLASSIFIER, model.spec, params, jax.devices()[:1], batching)
    found.start(x, lengths)()
    return lambda: found.start(x, lengths)(), (found.bytes - sum(a.nbytes for a in jax.tree.leaves(params))) / 1e6


def first(repeat: int, quick: bool) -> None:
    """The first batch, folding and compilation included, after imports and the start of JAX"""
    print("| | seconds | of it folding | of it compiling | sequences |\n|---|---|---|---|---|")
    jax.block_until_ready(jnp.zeros(1) + 1)
    models = {"listops": random_models.s5("listops"), "image": random_models.s5("image"), "s4d": random_models.s4d()}
    for name, model in models.items():
        program._compiled.cache_clear()
        x, lengths = model.batch(ROUNDS * len(jax.devices()))
        began = time.perf_counter()
        params = fold.fold(model.spec, model.variables, model.systems, model.length)
        folded = time.perf_counter()
        run = predictor(model, params, x, lengths)
        compiled = time.perf_counter()
        jax.block_until_ready(run(x, lengths))
        ended = time.perf_counter()
        print(
            f"| {name} | {ended - began:.2f} | {folded - began:.2f} | {compiled - folded:.2f} | {len(x)} |", flush=True
        )


PARTS: dict[str, Callable[[int, bool], None]] = {
    "all": all_cores,
    "length": length,
    "pruned": pruned,
    "s4d": s4d,
    "first": first,
    "precision": precision,
}
ONE_CORE = ("pruned", "s4d", "length")


def _row(name: str, ours: Model, theirs: Model, batch: int, plain_batch: int, repeat: int) -> float:
    """One line: `ours` in last against `theirs` in the plain baseline; how many times faster it is."""
    x, lengths = theirs.batch(batch)
    config = theirs.spec.config
    if theirs.spec.blocks[0].family == "s5":
        step = plain.s5_step(config.activation, config.padded, config.clip_eigs)
    else:
        step = plain.s4d_step(config.activation)
    features = np.eye(theirs.spec.d_input, dtype=np.float32)[x] if x.ndim == 2 else x
    features, variables = jax.device_put(features[:plain_batch]), jax.device_put(theirs.variables)
    run, many = _engine(ours, batch)
    calls: dict[str, Callable[[], Any]] = {
        "plain": lambda: step(variables, features, lengths[:plain_batch]),
        "last": run,
    }
    found = {name: np.asarray(jax.block_until_ready(call())) for name, call in calls.items()}
    difference = np.abs(found["plain"] - found["last"][:plain_batch]).max()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for key, call in calls.items():
            times[key].append(1e3 * seconds(call) / (plain_batch if key == "plain" else many))
    ratio = statistics.median(times["plain"]) / statistics.median(times["last"])
    print(
        f"| {name} | {span(times['plain'])} | {span(times['last'])} | {ratio:.1f} | {_limit(ours, repeat):.2f} "
        f"| {difference:.0e} |",
        flush=True,
    )
    return ratio


def _judged(met: bool, bar: float) -> str:
    return f"bar {bar:g}: {'met' if met else '**missed**'}"


def _alone(model: Model, batch: int, repeat: int) -> list[float]:
    run, many = _engine(model, batch)
    jax.block_until_ready(run())
    return [1e3 * seconds(run) / many for _ in range(repeat)]


def _engine(model: Model, batch: int, precision: str = "float32") -> tuple[Callable[[], Any], int]:
    """last on at least so many sequences, as `last eval` runs it, and on how many."""
    devices = len(jax.devices())
    rounds = -(-batch // devices)
    x, lengths = model.batch(batch)
    x, lengths = (np.resize(array, (rounds * devices, *array.shape[1:])) for array in (x, lengths))
    params = fold.fold(model.spec, model.variables, model.systems, model.length, precision)
    run = predictor(model, params, x, lengths)
    return lambda: run(x, lengths), len(x)


def predictor(model: Model, params: Any, x: np.ndarray, lengths: np.ndarray) -> Callable[..., np.ndarray]:
    devices, rounds = jax.devices(), len(x) // len(jax.devices())
    batching = program.Batching(x.shape[1:], x.dtype, micro=1, rounds=rounds)
    found = program.program(CLASSIFIER, model.spec, params, devices, batching)
    return lambda x, lengths: found.start(x, lengths)()


def _limit(model: Model, repeat: int) -> float:
    """Milliseconds a sequence of all matrix products of its blocks, on all devices at once."""
    params = fold.fold(model.spec, model.variables, model.systems, model.length)
    shapes = []
    for block in params["blocks"]:
        shapes += [block["ssm"][name].shape for name in ("drive", "readout") if name in block["ssm"]]
        shapes.append(block["glu"]["kernel"].shape)
    times = {shape: _product_seconds(model.length, shape, repeat) for shape in set(shapes)}
    return 1e3 * sum(times[shape] for shape in shapes)


def _product_seconds(length: int, shape: tuple[int, int], repeat: int) -> float:
    """Of one sequence's product with a matrix, every device doing some of its own."""
    devices = len(jax.devices())

    def some(u: Any, w: Any) -> Any:
        return jax.lax.map(lambda u: u @ w, u)

    mesh, data = Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data")
    product = jax.jit(jax.shard_map(some, mesh=mesh, in_specs=(data, PartitionSpec()), out_specs=data, check_vma=False))
    count = devices * ROUNDS
    u = jax.device_put(np.ones((count, length, shape[0]), np.float32), NamedSharding(mesh, data))
    w = jax.device_put(np.ones(shape, np.float32), NamedSharding(mesh, PartitionSpec()))
    return statistics.median(seconds(lambda: product(u, w)) for _ in range(2 * repeat + 1)) / count


def seconds(call: Callable[[], Any]) -> float:
    first = _once(call)
    return first if first > 1 else _once(call)


def _once(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def span(times: list[float]) -> str:
    return f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


if __name__ == "__main__":
    main()
