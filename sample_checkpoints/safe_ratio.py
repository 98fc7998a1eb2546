"""How far the sample checkpoints can be pruned, method by method, for the tables and the figure in the README.

    python sample_checkpoints/safe_ratio.py                 # all samples, Markdown on stdout
    python sample_checkpoints/safe_ratio.py s5-listops --ratios 0.5 0.6 --plot safe_ratio.svg
    python sample_checkpoints/safe_ratio.py --read sample_checkpoints/safe_ratio.md --plot safe_ratio.svg

The first table has the difference to the unpruned checkpoint in percentage points on the same test sequences, with the
standard error of that paired difference. `calibrated` is the method `reconstruct` with 256 sequences of the validation
split (200 where it has no more) without their labels, `data-free` the same with 256 random ones; both are means over
seeds. The lines "3x" are the same pruned checkpoints on sequences three times as long as in training: ListOps of 130 to
192 tokens; digits with each pixel three times in a row, at a third of the step size ("3x", which is how a
continuous-time model takes a finer signal), and with the whole image three times in a row ("3x tiled", of which the
unpruned network itself makes little).

The second table has the safe ratios: the largest of the grid at which, and below which, no more than half a point is
lost. The test split judges here and chooses nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from compare import SAMPLES

import last_cli as last
from last_cli.base import registry
from last_cli.evaluation.evaluate import follow_task, start_devices
from last_cli.evaluation.inputs import Inputs
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.prune import prepare
from last_cli.pruning.recipe import recipe
from last_cli.pruning.reconstruct.probe import Probe
from last_cli.tasks.task import Split

HERE = Path(__file__).parent
METHODS = ("last", "aire", "reconstruct, data-free", "reconstruct, calibrated")
LONG = {"min_length": 130, "max_length": 192, "length": 193}
SAFE, HEADLINE = 0.5, 0.6


@dataclass(frozen=True)
class Drop:
    """Points of accuracy won (or lost, if negative), and the standard error of that."""

    points: float
    error: float

    def __str__(self) -> str:
        return f"{self.points:+.1f} ± {self.error:.1f}"


@dataclass(frozen=True, eq=False)
class Judge:
    """A split, the program that runs a checkpoint's network on it, and which of its answers are right unpruned."""

    split: Split
    probe: Probe
    right: np.ndarray

    def drop(self, pruned: Sequence[last.Checkpoint]) -> Drop:
        """Mean over checkpoints, which share the sequences, so that no error shrinks by their number."""
        right = np.mean([self._right(one) for one in pruned], axis=0)
        change = right - self.right
        return Drop(100 * float(change.mean()), 100 * float(change.std() / np.sqrt(len(change))))

    def _right(self, masked: last.Checkpoint) -> np.ndarray:
        logits = self.probe.logits([masked.system(layer).C for layer in masked.layers])
        return logits.argmax(axis=1) == self.split.y


# Drops by ratio, method and split ("", " 3x", " 3x tiled").
Measured = dict[tuple[float, str, str], Drop]


def main() -> None:
    args = _arguments()
    if args.read:
        found = _read(args.read)
        ratios = sorted({ratio for measured in found.values() for ratio, _, _ in measured})
        _summary(found, ratios)
        if args.plot:
            _draw(found, ratios, args.plot)
        return
    start_devices("cpu")
    began = time.perf_counter()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPU cores, last {last.__version__}\n")
    print("| sample | unpruned | ratio | " + " | ".join(METHODS) + " |")
    print("| :-- | --: | --: | " + " | ".join("--:" for _ in METHODS) + " |")
    found = {name: _sample(name, args.ratios, range(args.seeds)) for name in args.samples}
    _summary(found, args.ratios)
    print(f"\n{time.perf_counter() - began:.0f} s")
    if args.plot:
        _draw(found, args.ratios, args.plot)


def _read(table: Path) -> dict[str, Measured]:
    """What a run has printed, to the decimals that it printed."""
    found: dict[str, Measured] = {}
    for line in table.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name, _, label = cells[0].partition(" ")
        if name not in SAMPLES or not cells[2].endswith("%"):
            continue
        for method, cell in zip(METHODS, cells[3:], strict=True):
            points, _, error = cell.partition(" ± ")
            key = int(cells[2].rstrip("%")) / 100, method, f" {label}" if label else ""
            found.setdefault(name, {})[key] = Drop(float(points), float(error))
    return found


def _sample(name: str, ratios: Sequence[float], seeds: range) -> Measured:
    """Prints the sample's rows as they are measured."""
    ck, task = last.load(HERE / name), SAMPLES[name]
    judges = _judges(ck, name, task)
    free = [prepare(ck, recipe(method="reconstruct", seed=s)) for s in seeds]
    calibrated = [prepare(ck, recipe(method="reconstruct", seed=s), Calibration(256, task)) for s in seeds]
    measured: Measured = {}
    for ratio in ratios:
        pruned = [[last.prune(ck, ratio, criterion, masked=True)] for criterion in ("last", "aire")]
        pruned += [[plan.at(ratio, draft=True).checkpoint for plan in plans] for plans in (free, calibrated)]
        for label, judge in judges.items():
            measured |= {(ratio, method, label): judge.drop(many) for method, many in zip(METHODS, pruned, strict=True)}
            accuracy = judge.right.mean()
            error = np.sqrt(accuracy * (1 - accuracy) / len(judge.right))
            cells = [f"{name}{label}", f"{100 * accuracy:.1f} ± {100 * error:.1f} %", f"{ratio:.0%}"]
            print("| " + " | ".join([*cells, *(str(measured[ratio, m, label]) for m in METHODS)]) + " |", flush=True)
    return measured


def _judges(ck: last.Checkpoint, name: str, task: str) -> dict[str, Judge]:
    settings = dict(ck.stamp.get("task", {}))
    load = registry.get("tasks", task).load
    short = load("test", settings=settings)
    if task == "listops":
        return {"": _judge(ck, short), " 3x": _judge(ck, load("test", settings=settings | LONG))}
    finer = last.load(HERE / name, step_rescale=ck.config.step_rescale / 3)
    longer = replace(short, length=3 * short.length)
    return {
        "": _judge(ck, short),
        " 3x": _judge(finer, replace(longer, x=np.repeat(short.x, 3, axis=1))),
        " 3x tiled": _judge(ck, replace(longer, x=np.tile(short.x, (1, 3, 1)))),
    }


def _judge(ck: last.Checkpoint, split: Split) -> Judge:
    probe = Probe(follow_task(ck, split), Inputs(split.x[:], split.lengths, {}))
    logits = probe.logits([ck.system(layer).C for layer in ck.layers])
    return Judge(split, probe, logits.argmax(axis=1) == split.y)


def _summary(found: dict[str, Measured], ratios: Sequence[float]) -> None:
    print("\n| safe ratio | " + " | ".join(METHODS) + " |")
    print("| :-- | " + " | ".join("--:" for _ in METHODS) + " |")
    safe = {name: [_safe(measured, ratios, method) for method in METHODS] for name, measured in found.items()}
    for name, row in safe.items():
        print(f"| {name} | " + " | ".join(f"{ratio:.0%}" for ratio in row) + " |")
    print("| mean | " + " | ".join(f"{ratio:.0%}" for ratio in np.mean(list(safe.values()), axis=0)) + " |")
    if HEADLINE in ratios:
        mean = [np.mean([m[HEADLINE, method, ""].points for m in found.values()]) for method in METHODS]
        print(f"| points lost at {HEADLINE:.0%}, mean | " + " | ".join(f"{points:+.2f}" for points in mean) + " |")
    for name, measured in found.items():
        for label in dict.fromkeys(label for _, _, label in measured if label):
            at = [measured.get((ratio, method, label)) for ratio, method in zip(safe[name], METHODS, strict=True)]
            print(f"| {name}{label}, at its safe ratio | " + " | ".join(str(d) if d else "" for d in at) + " |")


def _safe(measured: Measured, ratios: Sequence[float], method: str) -> float:
    safe = 0.0
    for ratio in sorted(ratios):
        if measured[ratio, method, ""].points < -SAFE:
            break
        safe = ratio
    return safe


def _draw(found: dict[str, Measured], ratios: Sequence[float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    look: Any = {"font.size": 8, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(look):
        figure, axes = pyplot.subplots(1, len(found), figsize=(2.4 * len(found), 2.3), sharey=True, squeeze=False)
        for axis, (name, measured) in zip(axes[0], found.items(), strict=True):
            axis.axhline(-SAFE, color="0.75", linewidth=0.8)
            for method, marker, color in zip(METHODS, "osD^", ("0.6", "0.3", "C0", "C3"), strict=True):
                drops = [measured[ratio, method, ""] for ratio in ratios]
                axis.errorbar(
                    [100 * ratio for ratio in ratios],
                    [drop.points for drop in drops],
                    [drop.error for drop in drops],
                    label=method,
                    marker=marker,
                    color=color,
                    markersize=3,
                    linewidth=1,
                    capsize=1.5,
                )
            axis.set(title=name, xlabel="states removed (%)", ylim=(-10, 1.5))
        axes[0][0].set_ylabel("change of accuracy (points)")
        axes[0][len(found) // 2].legend(frameon=False, fontsize=7, loc="lower left")
        figure.tight_layout()
        figure.savefig(path, dpi=200)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="*", default=list(SAMPLES), help="which samples (default: all)")
    parser.add_argument("--ratios", nargs="*", type=float, default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--read", type=Path, metavar="TABLE", help="measure nothing: take a printed table")
    parser.add_argument("--plot", type=Path, help="a figure of it: .svg or .png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
