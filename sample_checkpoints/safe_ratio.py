"""How far checkpoints can be pruned, method by method, for the tables and the figure in the README.

    python sample_checkpoints/safe_ratio.py                 # the samples, Markdown on stdout
    python sample_checkpoints/safe_ratio.py s5-listops --ratios 0.5 0.6 --plot safe_ratio.svg
    python sample_checkpoints/safe_ratio.py s5-one-listops s5-last-watch ... --runs runs --tune --work work
    python sample_checkpoints/safe_ratio.py --read sample_checkpoints/safe_ratio.md --plot safe_ratio.svg

Models are the samples, and those that train.py has written to RUNS/NAME; of these, none chose a setting of the package.
What is measured is kept in --work, and a run that is started again goes on from there: --minutes stops in time, and
prints what is complete. --methods takes some of the columns, so that two runs can share the work.

The first table has the difference to the unpruned checkpoint in percentage points on the same test sequences (of
ListOps 10,000, five draws of 2,000, and one of three times the length), with the standard error of that paired
difference. `calibrated`, and `gn`, is with 256 sequences of the validation split (all of it where it has no more)
without their labels, `data-free` with 256 random ones (with --length where the checkpoint does not record it).
Reconstruct's numbers are means over seeds, with the smallest and largest in brackets. `tuned` is each pruning of the
first seed (of reconstruct at 60 and 80 % of --tuned-seeds) after `last tune`, on up to 8,000 sequences of the training
split, without labels; it has 33, 60 and 80 %, and of the others those alone that the safe ratio hangs on. The lines
"3x" are the same pruned checkpoints on sequences three times as long as in training: ListOps of so many tokens; of
series and images every step three times in a row, at a third of the step size ("3x", which is how a continuous-time
model takes a finer signal), and digits with the whole image three times in a row ("3x tiled", of which the unpruned
network itself makes little).

The second table has the safe ratios: the largest in steps of 10 % at which, and below which, no more than half a point
is lost, as far down as was measured. The test split judges here and chooses nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measured import METHODS, SEEDED, TASKS, TUNED, UNPRUNED, Cell, Model, model

import last_cli as last
from last_cli.evaluation.evaluate import start_devices

SAMPLES = ("s5-listops", "s4d-listops", "s5-digits")
SAFE, THIRD = 0.5, 0.33
HEADLINES = (THIRD, 0.6, 0.8)
HIGH = 0.6
"""From here on every ratio is tuned."""
SHORT = {"last": "0.6", "aire": "0.3", "gn": "C2", "reconstruct, data-free": "C0", "reconstruct, calibrated": "C3"}


@dataclass(frozen=True)
class Drop:
    """Points of accuracy won (or lost, if negative), the standard error of that, and the seeds' range."""

    points: float
    error: float
    spread: tuple[float, float] | None = None

    def __str__(self) -> str:
        said = f"{self.points:+.1f} ± {self.error:.1f}"
        return said if self.spread is None else f"{said} ({self.spread[0]:+.1f} to {self.spread[1]:+.1f})"


class Seeds(NamedTuple):
    """How many of reconstruct, and of it tuned at 60 and 80 %."""

    plain: int
    tuned: int


# Drops by ratio, method and split ("", " 3x", " 3x tiled").
Measured = dict[tuple[float, str, str], Drop]


def main() -> None:
    args = _arguments()
    if args.read:
        found = _read(args.read)
        ratios = sorted({ratio for measured in found.values() for ratio, _, _ in measured})
        _summary(found, ratios, list(dict.fromkeys(key[1] for measured in found.values() for key in measured)))
        if args.plot:
            _draw(found, ratios, args.plot)
        return
    start_devices("cpu")
    with tempfile.TemporaryDirectory() as folder:
        _measured(args, args.work or Path(folder))


def _measured(args: argparse.Namespace, work: Path) -> None:
    """Measure, print the tables of what is complete, and draw."""
    began = time.perf_counter()
    methods = [*args.methods, *([f"{method}{TUNED}" for method in args.methods] if args.tune else [])]
    models = [model(name, args.runs, work) for name in args.models]
    seeds = Seeds(args.seeds, args.tuned_seeds)
    for one, cell in _cells(models, methods, args.ratios, seeds):
        if args.minutes is not None and time.perf_counter() - began > 60 * args.minutes:
            break
        one.right(cell)
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPU cores, last {last.__version__}\n")
    print("| sample | unpruned | ratio | " + " | ".join(methods) + " |")
    print("| :-- | --: | --: | " + " | ".join("--:" for _ in methods) + " |")
    found = {one.name: _rows(one, methods, args.ratios, seeds) for one in models}
    _summary(found, args.ratios, methods)
    print(f"\n{time.perf_counter() - began:.0f} s")
    if args.plot:
        _draw(found, args.ratios, args.plot)


def _cells(
    models: Sequence[Model], methods: Sequence[str], ratios: Sequence[float], seeds: Seeds
) -> Iterator[tuple[Model, Cell]]:
    """All that is to be measured, what is quick and what headlines need first; what was measured is left out."""
    yield from ((one, Cell(UNPRUNED)) for one in models if not one.has(Cell(UNPRUNED)))
    order = sorted(ratios, key=lambda ratio: (ratio not in HEADLINES, -ratio))
    plain, tuned = [[m for m in methods if m.endswith(TUNED) == wanted] for wanted in (False, True)]
    for one, method, ratio in itertools.product(models, plain, order):
        yield from ((one, cell) for cell in _seeds(method, ratio, seeds) if not one.has(cell))
    rising = sorted(ratio for ratio in ratios if ratio >= HIGH and ratio not in HEADLINES)
    falling = [ratio for ratio in order if ratio not in rising]
    for ratio, one, method in itertools.product([*falling[:3], *rising, *falling[3:]], models, tuned):
        if ratio in HEADLINES or _decides(one, method, ratio, (ratios, seeds)):
            yield from ((one, cell) for cell in _seeds(method, ratio, seeds) if not one.has(cell))


def _decides(one: Model, method: str, ratio: float, of: tuple[Sequence[float], Seeds]) -> bool:
    """Whether the safe ratio hangs on a tuned one: from HIGH on where none below lost, else where the next one did."""
    ratios, seeds = of
    if ratio < HIGH:
        return _lost(one, method, min(other for other in ratios if other > ratio and other != THIRD), seeds)
    return not any(_lost(one, method, other, seeds) for other in ratios if HIGH <= other < ratio)


def _lost(one: Model, method: str, ratio: float, seeds: Seeds) -> bool:
    """Whether it was measured, and is no safe ratio."""
    cells = _seeds(method, ratio, seeds)
    if not all(one.has(cell) for cell in cells):
        return False
    return _drop(one.right(Cell(UNPRUNED))[""], [one.right(cell)[""] for cell in cells]).points < -SAFE


def _seeds(method: str, ratio: float, seeds: Seeds) -> list[Cell]:
    count = 1
    if method in SEEDED:
        count = seeds.plain
    elif method.removesuffix(TUNED) in SEEDED and ratio in HEADLINES and ratio >= HIGH:
        count = seeds.tuned
    return [Cell(method, ratio, seed) for seed in range(count)]


def _rows(one: Model, methods: Sequence[str], ratios: Sequence[float], seeds: Seeds) -> Measured:
    """Prints and returns what is complete of a model."""
    measured: Measured = {}
    if not one.has(Cell(UNPRUNED)):
        return measured
    unpruned = one.right(Cell(UNPRUNED))
    for ratio in ratios:
        cells = {method: _seeds(method, ratio, seeds) for method in methods}
        right = {m: [one.right(c) for c in own] for m, own in cells.items() if all(one.has(c) for c in own)}
        for label, before in unpruned.items():
            measured |= {(ratio, m, label): _drop(before, [own[label] for own in many]) for m, many in right.items()}
            accuracy = before.mean()
            error = np.sqrt(accuracy * (1 - accuracy) / len(before))
            row = [f"{one.name}{label}", f"{100 * accuracy:.1f} ± {100 * error:.1f} %", f"{ratio:.0%}"]
            if right:
                print("| " + " | ".join([*row, *(str(measured.get((ratio, m, label), "")) for m in methods)]) + " |")
    return measured


def _drop(before: np.ndarray, after: Sequence[np.ndarray]) -> Drop:
    """Mean over seeds, which share the sequences, so that no error shrinks by their number."""
    each = [100 * float((one.astype(float) - before).mean()) for one in after]
    change = np.mean(after, axis=0) - before
    spread = (min(each), max(each)) if len(each) > 1 else None
    return Drop(float(np.mean(each)), 100 * float(change.std() / np.sqrt(len(change))), spread)


def _read(table: Path) -> dict[str, Measured]:
    """What a run has printed, to the decimals that it printed."""
    found: dict[str, Measured] = {}
    methods: list[str] = []
    for line in table.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "sample":
            methods = cells[3:]
        name, _, label = cells[0].partition(" ")
        if name not in TASKS or len(cells) < 3 or not cells[2].endswith("%") or len(cells) != 3 + len(methods):
            continue
        for method, cell in zip(methods, cells[3:], strict=True):
            points, _, rest = cell.partition(" ± ")
            key = int(cells[2].rstrip("%")) / 100, method, f" {label}" if label else ""
            if cell:
                found.setdefault(name, {})[key] = Drop(float(points), float(rest.partition(" ")[0]))
    return found


def _summary(found: dict[str, Measured], ratios: Sequence[float], methods: Sequence[str]) -> None:
    """Safe ratios; an empty cell where a ratio that they need is missing, and means of full columns alone."""
    print("\n| safe ratio | " + " | ".join(methods) + " |")
    print("| :-- | " + " | ".join("--:" for _ in methods) + " |")
    safe = {name: [_safe(measured, ratios, method) for method in methods] for name, measured in found.items()}
    for name, row in safe.items():
        print(f"| {name} | " + " | ".join("" if ratio is None else f"{ratio:.0%}" for ratio in row) + " |")
    columns = list(zip(*safe.values(), strict=True))
    for name, of in (("mean", np.mean), ("worst", min)):
        cells = ["" if None in column else f"{float(of(column)):.0%}" for column in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")
    for ratio in (ratio for ratio in HEADLINES if ratio in ratios):
        drops = [[measured.get((ratio, method, "")) for measured in found.values()] for method in methods]
        points = [[drop.points for drop in column if drop] for column in drops]
        cells = [f"{np.mean(own):+.2f} ({min(own):+.1f})" if len(own) == len(found) else "" for own in points]
        print(f"| points at {ratio:.0%}, mean (worst) | " + " | ".join(cells) + " |")
    for name, measured in found.items():
        for label in dict.fromkeys(label for _, _, label in measured if label):
            at = [measured.get((ratio or 0, m, label)) for ratio, m in zip(safe[name], methods, strict=True)]
            print(f"| {name}{label}, at its safe ratio | " + " | ".join(str(d) if d else "" for d in at) + " |")


def _safe(measured: Measured, ratios: Sequence[float], method: str) -> float | None:
    """None where a ratio that decides was not measured; a tuned one decides from HIGH on, and below if that lost."""
    safe, left_out = 0.0, False
    for ratio in sorted(ratio for ratio in ratios if ratio != THIRD):
        drop = measured.get((ratio, method, ""))
        if drop is None:
            if not method.endswith(TUNED) or ratio >= HIGH:
                return None
            left_out = True
        elif drop.points < -SAFE:
            return None if left_out and not safe else safe
        else:
            safe = ratio
    return safe


def _draw(found: dict[str, Measured], ratios: Sequence[float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    look: Any = {"font.size": 8, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(look):
        columns, rows = min(len(found), 4), -(-len(found) // 4)
        size = (2.4 * columns, 2.3 * rows)
        figure, axes = pyplot.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
        for axis in axes.flat[len(found) :]:
            axis.set_axis_off()
        for axis, (name, measured) in zip(axes.flat, found.items(), strict=False):
            axis.axhline(-SAFE, color="0.75", linewidth=0.8)
            for method, marker in zip(METHODS, "osvD^", strict=True):
                drops = {ratio: measured[ratio, method, ""] for ratio in ratios if (ratio, method, "") in measured}
                axis.errorbar(
                    [100 * ratio for ratio in drops],
                    [drop.points for drop in drops.values()],
                    [drop.error for drop in drops.values()],
                    label=method,
                    marker=marker,
                    color=SHORT[method],
                    markersize=3,
                    linewidth=1,
                    capsize=1.5,
                )
            axis.set(title=name, xlabel="states removed (%)", ylim=(-10, 1.5))
            axis.tick_params(labelbottom=True)
        for row in axes:
            row[0].set_ylabel("change of accuracy (points)")
        axes.flat[0].legend(frameon=False, fontsize=7, loc="lower left")
        figure.tight_layout()
        figure.savefig(path, dpi=200)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(SAMPLES), metavar="MODEL", help="which (default: samples)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where train.py has written the others")
    parser.add_argument("--ratios", nargs="*", type=float, default=[0.1, 0.2, 0.3, 0.33, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tuned-seeds", type=int, default=1, help="of reconstruct, tuned, at 60 and 80 %%")
    parser.add_argument("--tune", action="store_true", help="each method's first seed tuned as well: slow")
    parser.add_argument("--work", type=Path, help="keep what is measured in this folder, and go on from there")
    parser.add_argument("--minutes", type=float, help="measure no longer than this, and print what is complete")
    parser.add_argument("--read", type=Path, metavar="TABLE", help="measure nothing: take a printed table")
    parser.add_argument("--plot", type=Path, help="a figure of it: .svg or .png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
