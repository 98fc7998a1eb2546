"""Accuracy of the sample checkpoints pruned with and without refitting C, for the table in the README.

    python sample_checkpoints/reconstruct.py                # all samples, Markdown on stdout, about ten minutes
    python sample_checkpoints/reconstruct.py s5-listops --ratios 0.5 0.6

Each number is the difference to the unpruned checkpoint in percentage points on the same test sequences, with the
standard error of that paired difference. `calibrated` is the method `reconstruct` with 256 sequences of the validation
split (200 where it has no more) without their labels, `data-free` the same with 256 random ones; both are means of
three seeds. The lines "3x" are the same pruned checkpoints on ListOps of 130 to 192 tokens, three times as long as in
training.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
from compare import SAMPLES, _cell

import last_cli as last
from last_cli import registry
from last_cli.evaluation import Request, follow_task, measure, start_devices
from last_cli.reducers import inputs, reconstruct
from last_cli.results import Measured
from last_cli.tasks.task import Split

HERE = Path(__file__).parent
COLUMNS = ("last", "aire", "reconstruct, data-free", "reconstruct, calibrated")
LONG = {"min_length": 130, "max_length": 192, "length": 193}


def main() -> None:
    args = _arguments()
    start_devices("cpu")
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPU cores, last {last.__version__}\n")
    print("| sample | unpruned | ratio | " + " | ".join(COLUMNS) + " |")
    print("| :-- | --: | --: | " + " | ".join("--:" for _ in COLUMNS) + " |")
    for name in args.samples:
        _sample(name, args.ratios, range(args.seeds))


def _sample(name: str, ratios: list[float], seeds: range) -> None:
    ck, task = last.load(HERE / name), SAMPLES[name]
    settings = dict(ck.stamp.get("task", {}))
    load = registry.get("tasks", task).load
    splits = {"": load("test", settings=settings)}
    if task == "listops":
        splits[" 3x"] = load("test", settings=settings | LONG)
    plans = {
        "data-free": [reconstruct.prepare(ck, inputs.random(ck, 256, seed=s), seed=s) for s in seeds],
        "calibrated": [reconstruct.prepare(ck, inputs.from_task(ck, task, 256, seed=s), seed=s) for s in seeds],
    }
    bases = {label: _measured(ck, data, task) for label, data in splits.items()}
    for ratio in ratios:
        columns = [[last.prune(ck, ratio, criterion)] for criterion in ("last", "aire")]
        columns += [[reconstruct.reduce(p, ratio, compare=False) for p in many] for many in plans.values()]
        for label, data in splits.items():
            base = bases[label]
            error = 100 * np.sqrt(base.accuracy * (1 - base.accuracy) / len(data.y))
            cells = [_cell([_measured(p, data, task) for p in column], base) for column in columns]
            unpruned = f"{100 * base.accuracy:.1f} ± {error:.1f} %"
            print(f"| {name}{label} | {unpruned} | {ratio:.0%} | " + " | ".join(cells) + " |", flush=True)


def _measured(ck: last.Checkpoint, data: Split, task: str) -> Measured:
    return measure(follow_task(ck, data), data, Request(task))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="*", default=list(SAMPLES), help="which samples (default: all)")
    parser.add_argument("--ratios", nargs="*", type=float, default=[0.33, 0.5, 0.6, 0.7, 0.8])
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
