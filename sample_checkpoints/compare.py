"""Accuracy of the sample checkpoints before and after pruning, for the table in the README.

    python sample_checkpoints/compare.py                    # all samples, Markdown on stdout, a few minutes
    python sample_checkpoints/compare.py s5-listops --ratios 0.1 0.33
    python sample_checkpoints/compare.py --ratios 0.33 0.5 0.6 --criteria energy gn gn+refit balanced --calibration 256

Each number is the difference to the unpruned checkpoint in percentage points on the same test sequences, with the
standard error of that paired difference; `random` is the mean of three seeds. `+refit` refits C. What takes sequences
takes `--calibration` of the validation split, without labels, or else random ones.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np

import last_cli as last
from last_cli.base import registry
from last_cli.evaluation.evaluate import Request, follow_task, measure
from last_cli.evaluation.metrics import drop
from last_cli.results.evaluation import Measured

HERE = Path(__file__).parent
SAMPLES = {"s5-listops": "listops", "s4d-listops": "listops", "s5-digits": "digits"}
CRITERIA = ("last", "aire", "hinf", "random")


def main() -> None:
    args = _arguments()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPU cores, last {last.__version__}\n")
    print("| sample | unpruned | ratio | " + " | ".join(args.criteria) + " |")
    print("| :-- | --: | --: | " + " | ".join("--:" for _ in args.criteria) + " |")
    for name in args.samples:
        ck, task = last.load(HERE / name), SAMPLES[name]
        data = registry.get("tasks", task).load("test", settings=dict(ck.stamp.get("task", {})))
        request = Request(task, device="cpu")
        base = measure(follow_task(ck, data), data, request)
        for ratio in args.ratios:
            cells = []
            for criterion in args.criteria:
                seeds = range(3) if criterion == "random" else range(1)
                pruned = [_pruned(ck, ratio, criterion, seed, args) for seed in seeds]
                cells.append(_cell([measure(follow_task(p, data), data, request) for p in pruned], base))
            print(
                f"| {name} | {100 * base.value:.1f} ± {100 * base.stderr:.1f} % | {ratio:.0%} | "
                + " | ".join(cells)
                + " |",
                flush=True,
            )


def _pruned(ck: last.Checkpoint, ratio: float, name: str, seed: int, args: argparse.Namespace) -> last.Checkpoint:
    criterion, refit = name.removesuffix("+refit"), name.endswith("+refit")
    calibration = args.calibration if refit or criterion in ("gn", "reconstruct") else None
    return last.prune(ck, ratio, criterion, refit=refit, calibration=calibration, seed=seed, shape=args.shape)


def _cell(results: list[Measured], base: Measured) -> str:
    paired = [drop("", result, base) for result in results]
    mean = float(np.mean([c.drop for c in paired]))
    error = float(np.sqrt(np.mean([c.drop_stderr**2 for c in paired]) / len(paired)))
    return f"{0 - 100 * mean:+.1f} ± {100 * error:.1f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="*", default=list(SAMPLES), help="which samples (default: all)")
    parser.add_argument("--ratios", nargs="*", type=float, default=[0.1, 0.33, 0.5])
    parser.add_argument("--criteria", nargs="*", default=list(CRITERIA), help="criteria, methods, criterion+refit")
    parser.add_argument("--shape", choices=["rectangular", "ragged"], help="of S4D (default: as `last prune`)")
    parser.add_argument("--calibration", type=int, help="sequences to measure on (default: random ones)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
