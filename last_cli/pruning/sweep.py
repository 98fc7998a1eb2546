"""Accuracy against ratio, for several ways to prune one checkpoint.

Every pruned version keeps the original's shapes, with zeros for what is removed, so that all of them share one compiled
program. Each is spread over all devices, its sequences side by side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.base.rows import blocks
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import network_of
from last_cli.evaluation.evaluate import Request, follow_task, load_split
from last_cli.evaluation.inputs import Asked, positive
from last_cli.evaluation.judge import Judge, judge
from last_cli.pruning import journal
from last_cli.pruning import prune as reducing
from last_cli.pruning import select as selection
from last_cli.pruning.needs import Shape
from last_cli.pruning.recipe import Recipe, recipe
from last_cli.results.evaluation import Measured
from last_cli.results.source import Progress
from last_cli.results.sweep import SweepPoint, SweepReport
from last_cli.tasks.task import Split

RATIOS = "0:0.9:0.1"
CRITERIA = ("last", "aire", "reconstruct", "random")
JOURNAL = "points.jsonl"
MOST_RATIOS = 1000

Key = tuple[str, float, int]
"""A point: its recipe, ratio and seed."""


def sweep(
    checkpoint: Checkpoint,
    task: str,
    *,
    ratios: str | Sequence[float] = RATIOS,
    criteria: Sequence[str] = CRITERIA,
    seeds: int = 3,
    calibration: int | None = None,
    split: str = "test",
    limit: int | None = None,
    data_dir: str | Path | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    scope: selection.Scope = "global",
    min_states: int = 1,
    shape: Shape = "ragged",
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> SweepReport:
    """Accuracy of a checkpoint pruned in several ways, at several ratios, on the same sequences of a task's split.

    A ratio must be chosen on "val" (or by `prune(max_drop=...)`) and reported on "test".

    Args:
        ratios: "START:STOP:STEP" with both ends in it, "0.1,0.33,0.5", or numbers in [0, 1).
        criteria: criteria, "reconstruct", or NAME+refit for C refitted after the criterion's choice.
        seeds: how many, from 0, for what depends on one: random choices and inputs.
        calibration: sequences of the task, without labels, that methods which refit C measure the states on; without it
            sequences made without data.
        out: a directory for points.jsonl, a line a point. A sweep that was killed goes on where it stopped, and one
            with more ratios, criteria or seeds adds to it.

    Raises:
        CheckpointError, DataError: as in `evaluate`.
        UsageError: unknown names, ratios that make no sense, or `out` is of another sweep.
    """
    recipes = {name: recipe(name) for name in criteria}
    if calibration is not None:
        positive(calibration)
    keys = list(_keys(recipes, parse_ratios(ratios), seeds))
    request = Request(task, split, Path(data_dir) if data_dir else None, limit, batch_size, device)
    data = load_split(checkpoint, request, progress)
    checkpoint = follow_task(checkpoint, data)
    options = {"scope": scope, "min_states": min_states, "shape": shape}
    header = _header(checkpoint, data, request, {"calibration": calibration, **options})
    path = Path(out) / JOURNAL if out is not None else None
    done = {p.key: p for p in map(_restored, journal.resume(path, header))} if path else {}
    judged = judge(checkpoint, data, request, progress)

    network = any(used.runs_network for used in recipes.values())

    @lru_cache(maxsize=1)  # the keys come seed by seed
    def plan(seed: int) -> Any:
        asked = Asked(calibration, task, None, data_dir) if calibration is not None else Asked()
        return reducing.plan_for(checkpoint, asked, seed=seed, network=network, progress=progress)

    @lru_cache(maxsize=1)
    def pruner(name: str, seed: int) -> Callable[..., Checkpoint]:
        used = recipes[name]
        return used.at_any_ratio(checkpoint, plan(seed) if used.needs_plan else None, seed=seed, **options)

    for key in keys:
        if key not in done:
            name, ratio, seed = key
            small = pruner(name, seed)(ratio, masked=True, compare=False) if ratio else checkpoint
            measured = judged.measure(small, progress) if ratio else judged.base
            done[key] = _point(key, small, measured, judged)
            if path:
                journal.append(path, asdict(done[key]))
        if progress:
            progress("sweep", sum(k in done for k in keys), len(keys))
    return SweepReport(
        checkpoint=checkpoint.source,
        family=checkpoint.family,
        task=judged.described,
        baseline=_baseline(judged),
        points=[done[key] for key in sorted(keys, key=lambda k: (list(recipes).index(k[0]), k[2], k[1]))],
        settings=header["settings"],
        assumed=checkpoint.assumed((*checkpoint.layer_options, *network_of(checkpoint).options)),
        notes=[*checkpoint.source.notes, data.note, *_notes(request, calibration, recipes)],
    )


def parse_ratios(spec: str | Sequence[float]) -> list[float]:
    """Ratios of "START:STOP:STEP", of a list in words, or of numbers; rising, each once.

    Raises:
        UsageError: it is none of them, one is outside [0, 1), or they are more than a sweep could mean.
    """
    hint = "0:0.9:0.1 are ten of them, 0 and 0.9 included; 0.1,0.33,0.5 are three"
    try:
        if isinstance(spec, str) and ":" in spec:
            start, stop, step = (float(part) for part in spec.split(":"))
            count = int((stop - start) / step + 1e-9) + 1
            if count > MOST_RATIOS:
                raise UsageError(f"⟦ratios⟧ '{spec}': {count:,} ratios, expected at most {MOST_RATIOS:,}", hint)
            found = [start + i * step for i in range(count)]
        else:
            found = [float(part) for part in (spec.split(",") if isinstance(spec, str) else spec)]
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"⟦ratios⟧ '{spec}': expected START:STOP:STEP or a list of numbers", hint) from error
    ratios = sorted({round(ratio, 9) for ratio in found})
    if not ratios or not 0 <= ratios[0] <= ratios[-1] < 1:
        raise UsageError(f"⟦ratios⟧ '{spec}': expected ratios from 0 up to, but not including, 1", hint)
    return ratios


def _keys(recipes: dict[str, Recipe], ratios: Sequence[float], seeds: int) -> Iterator[Key]:
    """Seed by seed, so that what is measured for a seed is measured once."""
    if seeds < 1:
        raise UsageError(f"⟦seeds⟧ is {seeds}, expected 1 or more", "3 show how much chance decides")
    if not recipes:
        raise UsageError("no criteria are given", "for example ⟦criteria last,aire,reconstruct⟧")
    for seed in range(seeds):
        for name, used in recipes.items():
            if seed == 0 or used.depends_on_seed:
                yield from ((name, ratio, seed) for ratio in ratios)


def _restored(record: Any) -> SweepPoint:
    try:
        return SweepPoint(**record)
    except TypeError as error:
        raise UsageError(f"{JOURNAL}: a line is no point: {record}", "choose another ⟦out⟧, or delete it") from error


def _header(checkpoint: Checkpoint, data: Split, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    """What every point of a file shares: one sweep is told from another by it."""
    total = hashlib.sha256()
    for array in (data.x, data.y, data.lengths):
        if array is not None:
            total.update(f"{array.dtype} {array.shape}\n".encode())
            for block in blocks(array):
                total.update(np.ascontiguousarray(block).tobytes())
    return {
        "schema": "last.sweep-points/1",
        "last": __version__,
        "checkpoint": checkpoint.digest,
        "task": request.task,
        "version": registry.get("tasks", request.task).version,
        "split": request.split,
        "limit": request.limit,
        "data": f"sha256:{total.hexdigest()}",
        "model": asdict(checkpoint.config),
        "settings": settings,
    }


def _point(key: Key, small: Checkpoint, measured: Measured, judged: Judge) -> SweepPoint:
    name, ratio, seed = key
    found, accuracy = judged.compare(measured), measured.accuracy
    return SweepPoint(
        criterion=name,
        ratio=ratio,
        seed=seed,
        states=small.report.states[1] if small.report else _live(small),
        accuracy=accuracy,
        stderr=_stderr(accuracy, len(measured.results)),
        loss=float(measured.losses.mean()),
        drop=found.drop,
        drop_stderr=found.drop_stderr,
    )


def _baseline(judged: Judge) -> dict[str, Any]:
    base, n = judged.base, len(judged.base.results)
    return {
        "accuracy": base.accuracy,
        "stderr": _stderr(base.accuracy, n),
        "loss": float(base.losses.mean()),
        "states": _live(judged.checkpoint),
        "n": n,
        "device": base.device,
    }


def _live(checkpoint: Checkpoint) -> int:
    return sum(int(checkpoint.system(layer).live_mask.sum()) for layer in checkpoint.layers)


def _stderr(accuracy: float, n: int) -> float:
    return float(np.sqrt(accuracy * (1 - accuracy) / n))


def _notes(request: Request, calibration: int | None, recipes: dict[str, Recipe]) -> list[str]:
    own = registry.get("tasks", request.task).selection_split
    notes = []
    if request.split != own:
        choose = f"choose it on ⟦split {own}⟧" if own else "choose it on data of your own"
        notes.append(f"measured on the {request.split} split: a ratio must not be chosen from this; {choose}")
    elif calibration is not None and any(used.needs_plan for used in recipes.values()):
        notes.append("C was refitted on sequences of this split, without labels: these drops may come out too small")
    return notes
