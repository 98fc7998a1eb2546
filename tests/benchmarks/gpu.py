"""What needs a GPU, by one command: exactness, speed, and training for the minutes that are left.

    python tests/benchmarks/gpu.py [--minutes 8] [--out runs/gpu] [--quick]

Prints Markdown. First the logits of every case of the original code, recorded in tests/data/oracle, as `last eval`
computes them on this device; then milliseconds a sequence beside the published algorithm written plainly, and tokens of
a Mamba-2 language model a second; then `s5-lra-listops` trains until the minutes are over: its state in OUT is taken up
when the command is run again. Plain and last take turns, and both multiply in full float32; `bfloat16` is last with
`--precision bfloat16`. `--quick` runs the whole of it at small sizes, on a CPU too.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import language_speed
import numpy as np
import plain
import random_models
from random_models import Model

from last_cli.evaluation import program
from last_cli.evaluation.devices import device_name
from last_cli.families.lti.network import fold
from last_cli.families.lti.network.classifier import CLASSIFIER
from last_cli.families.network import PRECISIONS

HERE = Path(__file__).resolve().parent
TRAIN = HERE.parents[1] / "sample_checkpoints" / "train.py"
PLAIN_BATCH, BATCH, REPEAT = 50, 64, 5
SPARE = 20  # seconds before the end in which no training is begun
TIMES = "| | plain ms | last ms | times faster | bfloat16 ms | difference, bfloat16 |"


def main() -> None:
    args = _arguments()
    ends = time.monotonic() + 60 * args.minutes
    print(f"{time.strftime('%Y-%m-%d')}, {device_name(jax.devices()[0], 1, 1)}, jax {jax.__version__}", flush=True)
    print("\n### The original code's cases\n\n| | largest error | allowed |\n|---|---|---|", flush=True)
    wrong = _wrong(args.quick)
    print(f"\n### Speed, milliseconds a sequence\n\n{TIMES}\n|---|---|---|---|---|---|", flush=True)
    for name, model, batch in _models(args.quick):
        if time.monotonic() < ends - SPARE:
            _speed(name, model, 2 if args.quick else batch, 1 if args.quick else REPEAT)
    _mamba2(args.quick)
    _train(args.out, ends, args.quick)
    if wrong:
        raise SystemExit(f"error: these cases are not what the original code computes: {', '.join(wrong)}")


def _wrong(quick: bool) -> list[str]:
    """The cases whose logits are not the recorded ones; prints a row each."""
    sys.path.insert(0, str(HERE.parent / "support"))
    from cases import CASES, load_case

    return [name for name in (CASES[:: len(CASES) - 1] if quick else CASES) if not _is_right(load_case(name))]


def _is_right(case: Any) -> bool:
    x, lengths = case.inputs()
    lengths = np.full(len(x), x.shape[1], np.int32) if lengths is None else lengths
    x = x if np.issubdtype(x.dtype, np.integer) else x.astype(np.float32)
    batching = program.Batching(x.shape[1:], x.dtype, micro=len(x), rounds=1)
    found = program.build(case.load(), jax.devices()[:1], batching).start(x, lengths)()
    error = float(np.abs(found - case.expected["logits"]).max())
    is_right = error <= case.tolerance
    print(f"| {case.name} | {error:.1e} | {case.tolerance:.1e}{'' if is_right else ', **wrong**'} |", flush=True)
    return is_right


def _models(quick: bool) -> list[tuple[str, Model, int]]:
    """What is timed: a name, the model, and sequences at a time in plain."""
    if quick:
        small = random_models.s4d(layers=1, H=8, N=4)
        return [("S5 ListOps", _short(random_models.s5("listops")), 2), ("S4D", _short(small), 2)]
    s5 = [(f"S5 {task}", random_models.s5(task), PLAIN_BATCH) for task in ("listops", "image", "pathx")]
    return [*s5, ("S4D of Image's size", random_models.s4d(), PLAIN_BATCH)]


def _short(model: Model) -> Model:
    """Of one block and few steps."""
    return replace(model, spec=replace(model.spec, blocks=model.spec.blocks[:1]), length=32)


def _speed(name: str, model: Model, batch: int, repeat: int) -> None:
    """A row: plain, and last in each precision, in turns."""
    config = model.spec.config
    if model.spec.blocks[0].family == "s5":
        step = plain.s5_step(config.activation, config.padded, config.clip_eigs)
    else:
        step = plain.s4d_step(config.activation)
    x, lengths = model.batch(max(batch, BATCH) if repeat > 1 else batch)
    features = jax.device_put((np.eye(model.spec.d_input, dtype=np.float32)[x] if x.ndim == 2 else x)[:batch])
    variables = jax.device_put(_only(model))
    calls: dict[str, Callable[[], Any]] = {"plain": lambda: step(variables, features, lengths[:batch])}
    for precision in PRECISIONS:
        calls[precision] = _last(model, x, lengths, precision)
    with jax.default_matmul_precision("highest"):
        found = {key: np.asarray(call()) for key, call in calls.items()}
        times: dict[str, list[float]] = {key: [] for key in calls}
        for _ in range(repeat):
            for key, call in calls.items():
                began = time.perf_counter()
                jax.block_until_ready(call())
                times[key].append(1e3 * (time.perf_counter() - began) / (batch if key == "plain" else len(x)))
    ratio = statistics.median(times["plain"]) / statistics.median(times["float32"])
    off = [np.abs(found["plain"] - found[precision][:batch]).max() for precision in PRECISIONS]
    texts = {key: f"{statistics.median(t):.3f} ({min(t):.3f} to {max(t):.3f})" for key, t in times.items()}
    print(
        f"| {name} | {texts['plain']} | {texts['float32']} | {ratio:.1f} | {texts['bfloat16']} "
        f"| {off[0]:.0e}, {off[1]:.0e} |",
        flush=True,
    )


def _only(model: Model) -> dict[str, Any]:
    """The variables, without blocks that the spec leaves out."""
    names = {block.name for block in model.spec.blocks}

    def own(tower: dict[str, Any]) -> dict[str, Any]:
        return {name: part for name, part in tower.items() if name in names or not name.startswith("layers_")}

    return {kind: {**tree, "encoder": own(tree["encoder"])} for kind, tree in model.variables.items()}


def _last(model: Model, x: np.ndarray, lengths: np.ndarray, precision: str) -> Callable[[], np.ndarray]:
    params = fold.fold(model.spec, model.variables, model.systems, model.length, precision)
    batching = program.Batching(x.shape[1:], x.dtype, micro=len(x), rounds=1)
    found = program.program(CLASSIFIER, model.spec, params, jax.devices()[:1], batching)
    return lambda: found.start(x, lengths)()


def _mamba2(quick: bool) -> None:
    """A Mamba-2 language model's tokens a second, which has no plain baseline here."""
    shape = {"layers": 1, "width": 64, "vocabulary": 64, "length": 16} if quick else language_speed.SHAPE
    with tempfile.TemporaryDirectory(prefix="gpu-benchmark-") as place:
        language_speed.write(Path(place), argparse.Namespace(**shape))
        work = language_speed.last("last", Path(place), np.load(Path(place) / "tokens.npy"))
        work()
        times = []
        for _ in range(1 if quick else REPEAT):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    rates = sorted(round(shape["length"] / seconds) for seconds in times)
    print(
        f"\n### A Mamba-2 language model, {shape['layers']} layers of width {shape['width']}, one sequence of "
        f"{shape['length']:,} tokens\n\n{statistics.median(rates):,.0f} tokens a second "
        f"({rates[0]:,} to {rates[-1]:,})",
        flush=True,
    )


def _train(out: Path, ends: float, quick: bool) -> None:
    """Train for what is left. The state of the last whole chunk of steps stays, whenever it ends."""
    recipe, more = ("s5-digits", ["--steps", "2"]) if quick else ("s5-lra-listops", [])
    left = ends - time.monotonic() - SPARE / 2
    print(f"\n### Training `{recipe}`, {max(left, 0):.0f} s\n\n```text", flush=True)
    if (out / recipe).exists():
        print(f"{out / recipe} is there: nothing is left to train", flush=True)
    elif left > SPARE:
        command = [sys.executable, str(TRAIN), recipe, "--out", str(out / recipe), *more]
        try:
            subprocess.run(command, timeout=left, check=True)
        except subprocess.TimeoutExpired:
            print("the minutes are over: the next run goes on", flush=True)
    print("```", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs") / "gpu", help="where the training's state is kept")
    parser.add_argument("--quick", action="store_true", help="small sizes, two cases, two steps of training")
    return parser.parse_args()


if __name__ == "__main__":
    main()
