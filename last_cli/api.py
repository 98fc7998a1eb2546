"""The Python API: the same words as the commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from last_cli import formats
from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint, load
from last_cli.checkpoint.convert import export_weights, import_weights
from last_cli.checkpoint.diff import diff
from last_cli.checkpoint.inspect import inspect
from last_cli.checkpoint.network import build_model
from last_cli.evaluation import bench as timing
from last_cli.evaluation import evaluate as evaluation
from last_cli.evaluation.resume import Tell
from last_cli.pruning.verify import verify
from last_cli.results.bench import BenchReport
from last_cli.results.evaluation import EvalReport
from last_cli.results.source import Progress

__all__ = [
    "Checkpoint",
    "bench",
    "build_model",
    "diff",
    "evaluate",
    "export_weights",
    "import_weights",
    "inspect",
    "load",
    "prune",
    "save",
    "score",
    "sweep",
    "verify",
]


def score(
    checkpoint: Checkpoint,
    criterion: str = "last",
    *,
    ratio=None,
    layer=None,
    calibration=None,
    task=None,
    calibration_file=None,
    data_dir=None,
    progress=None,
    **entries: Any,
) -> Any:
    from last_cli.pruning import score as module
    from last_cli.pruning.calibration.request import Calibration
    from last_cli.pruning.recipe import Recipe

    asked = Calibration(calibration, task, calibration_file, data_dir)
    return module.score(
        checkpoint, Recipe(criterion, **entries), ratio=ratio, layer=layer, calibration=asked, progress=progress
    )


def prune(
    checkpoint: Checkpoint,
    ratio: float | None = None,
    criterion: str = "last",
    *,
    max_drop=None,
    max_error=None,
    strict=False,
    method="criterion",
    calibration=None,
    task=None,
    calibration_file=None,
    data_dir=None,
    progress=None,
    **entries: Any,
) -> Checkpoint:
    from last_cli.pruning.budget import Budget, prune_within, ratio_or_budget
    from last_cli.pruning.calibration.request import Calibration
    from last_cli.pruning.prune import prune
    from last_cli.pruning.recipe import recipe

    how_far = ratio_or_budget(ratio, max_drop, max_error, strict)
    chosen, asked = recipe(criterion, method, **entries), Calibration(calibration, task, calibration_file, data_dir)
    if isinstance(how_far, Budget):
        return prune_within(checkpoint, how_far, chosen, asked, progress)
    return prune(checkpoint, how_far, chosen, asked, progress)


def sweep(
    checkpoint: Checkpoint,
    task: str,
    *,
    ratios="0:0.9:0.1",
    criteria: Sequence[str] = ("last", "aire", "reconstruct", "random"),
    seeds=3,
    calibration=None,
    split="test",
    limit=None,
    data_dir=None,
    batch_size=None,
    device=None,
    out=None,
    progress=None,
    **entries: Any,
) -> Any:
    from last_cli.evaluation.measure import Request
    from last_cli.pruning.recipe import Recipe
    from last_cli.pruning.sweep import Grid, sweep

    request = Request(task, split, Path(data_dir) if data_dir else None, limit, batch_size, device)
    return sweep(
        checkpoint, request, Grid(criteria, ratios, seeds, calibration), Recipe(**entries), out=out, progress=progress
    )


def evaluate(
    checkpoint: Checkpoint,
    task: str,
    *,
    split: str = "test",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    baseline: Checkpoint | str | Path | None = None,
    min_accuracy: float | None = None,
    max_drop: float | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> EvalReport:
    """Accuracy on a task, and against a baseline; see evaluation.evaluate for requests, limits and errors."""
    where = Path(data_dir) if data_dir else None
    return evaluation.evaluate(
        checkpoint,
        evaluation.Request(task, split, where, limit, batch_size, device, precision),
        baseline=baseline,
        limits=evaluation.Limits(min_accuracy, max_drop),
        resume=resume,
        progress=progress,
        tell=tell,
    )


def bench(
    *checkpoints: str | Path,
    length: int | None = None,
    batch: int = 32,
    repeat: int = 20,
    device: str | None = None,
    precision: str = "float32",
    preset: str | None = None,
    progress: Progress | None = None,
) -> BenchReport:
    """Latency, throughput and peak memory; see evaluation.bench for what the request says."""
    request = timing.BenchRequest(length, batch, repeat, device, precision, preset)
    return timing.bench(checkpoints, request, progress)


def save(pruned: Checkpoint, path: str | Path, *, force: bool = False) -> Path:
    """Write what `prune` made, with its stamp, as a checkpoint that appears whole or not at all.

    Raises:
        OutputError: the output exists (unless `force`), is the input, or cannot be written; nothing is left behind.
        UsageError: nothing was pruned.
    """
    if pruned.report is None:
        raise UsageError(f"{pruned.source.path} is as it was: there is nothing to save", "prune it first")
    out = Path(path)
    formats.save(
        out, source=pruned.index, changed=pruned.changed, stamp=dict(pruned.stamp), force=force, also=pruned.also
    )
    return out
