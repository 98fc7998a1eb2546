"""How good a checkpoint is on a task, how good its pruned versions are, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from last_cli.base.progress import Progress
    from last_cli.checkpoint.checkpoint import Checkpoint
    from last_cli.evaluation.resume import Tell
    from last_cli.results.bench import BenchReport
    from last_cli.results.compare import CompareReport
    from last_cli.results.evaluation import EvalReport
    from last_cli.results.sweep import SweepReport


def evaluate(
    checkpoint: Checkpoint | str | Path, task: str | None = None, *, split: str = "test", limit: int | None = None,
    data_dir: str | Path | None = None, batch_size: int | None = None, device: str | None = None,
    precision: str = "float32", baseline: Checkpoint | str | Path | None = None, min_accuracy: float | None = None,
    max_drop: float | None = None, strict: bool = False, window: int | None = None, stride: int | None = None,
    max_perplexity: float | None = None, max_increase: float | None = None, assume: bool = False, resume: bool = False,
    progress: Progress | bool | None = True, tell: Tell | None = None,
) -> EvalReport:  # fmt: skip
    """Accuracy or perplexity of a checkpoint on a task, and against a baseline on the same sequences.

    Processes that `jax.distributed` has joined all call this: each evaluates its share, all get the whole report.

    Args:
        checkpoint: an open one, or its path.
        task: a name (`last list tasks`), FILE.npz of arrays or FILE.txt; by default the one that it was trained on.
        split: "test", "val" or "train".
        data_dir: where the task's files are; without it the task finds or makes its own.
        limit: use only the first so many sequences.
        window, stride: of texts: tokens that are read at most, and from window to window (2048, and the window).
        batch_size, device: sequences that a device takes at a time; "cpu", "gpu" or "tpu", else what JAX prefers.
        precision: "float32", or "bfloat16": the model (not the baseline) then runs in both, and the report compares.
        baseline: compare with this one, sequence by sequence.
        min_accuracy: gate, a fraction.
        max_drop, strict: gate, percentage points that the accuracy may lie below the baseline's; whether the upper
            limit of the drop at 95 % is judged, not the estimate.
        max_perplexity, max_increase: gates, by token, and a fraction of the baseline's.
        assume: judge even where a guess of the configuration decides what the network answers.
        resume: take up the results that an interrupted run of the same evaluation left.
        progress: False shows none; or what is called with what is being done, and how much of it is done.
        tell: called with a line for the user, and its kind.

    Raises:
        CheckpointError: the tree is no model that can be built, or its logits are not finite.
        DataError: the task's files are missing, or do not fit the model.
        UsageError: unknown names, a gate without its baseline, one outside 0 to 1, or one that a guess would decide.
    """
    from last_cli.api.progress import shown
    from last_cli.checkpoint.checkpoint import opened
    from last_cli.evaluation import evaluate as evaluation

    checkpoint = opened(checkpoint)
    task = evaluation.trained_on(checkpoint, task)
    request = evaluation.Request(task, split, data_dir, limit, batch_size, device, precision, window, stride)
    limits = evaluation.Limits(min_accuracy, max_drop, strict, max_perplexity, max_increase, assume)
    with shown(progress) as bar:
        return evaluation.evaluate(
            checkpoint, request, baseline=baseline, limits=limits, resume=resume, progress=bar, tell=tell
        )


def sweep(
    checkpoint: Checkpoint | str | Path, task: str | None = None, *, ratios: str | Sequence[float] = "0:0.9:0.1",
    target: str | Sequence[str] | None = None, criteria: Sequence[str] | None = None, seeds: int = 3,
    calibration: int | None = None, calibration_file: str | Path | None = None, split: str | None = None,
    limit: int | None = None, data_dir: str | Path | None = None, batch_size: int | None = None,
    device: str | None = None, scope: Literal["global", "layer"] | None = None, min_states: int = 1,
    out: str | Path | None = None, shape: Literal["rectangular", "ragged"] | None = None,
    progress: Progress | bool | None = True, tell: Callable[[str], None] | None = None,
) -> SweepReport:  # fmt: skip
    """How good a checkpoint pruned in several ways, at several ratios, is on the same sequences of a task's split.

    A ratio must be chosen on "val" (or by `prune(max_drop=...)`) and reported on "test".

    Args:
        checkpoint, task: see `evaluate`.
        ratios: "START:STOP:STEP" with both ends in it, "0.1,0.33,0.5", or numbers in [0, 1).
        target: what goes, one or several, each combined with the criteria that can remove it.
        criteria: criteria, "reconstruct", "balanced", or NAME+refit for C refitted after; None: what suits the layers.
        seeds: how many, from 0, for what depends on one: random choices and inputs.
        calibration: sequences of the task, without labels, to measure the states on; else made without data.
        calibration_file: or a file of them, as for `prune`.
        split: by default the task's own validation split, "test" where it has none.
        limit, data_dir, batch_size, device: see `evaluate`.
        scope, min_states, shape: see `prune`.
        out: a directory for points.jsonl, one line per point. A rerun resumes a sweep that was killed, or adds to it.
        progress: False shows none; or what is called with what is being done, and how many of how many are done.
        tell: called with what it will cost.

    Raises:
        CheckpointError, DataError: as in `evaluate`.
        UsageError: unknown names, ratios that make no sense, or `out` is of another sweep.
    """
    from last_cli.api.progress import shown
    from last_cli.checkpoint.checkpoint import opened
    from last_cli.evaluation.evaluate import Request, trained_on
    from last_cli.pruning import sweep as sweeping
    from last_cli.pruning.recipe import Recipe

    checkpoint = opened(checkpoint)
    task = trained_on(checkpoint, task)
    request = Request(task, split or sweeping.usual_split(task), data_dir, limit, batch_size, device)
    targets = [target] if isinstance(target, str) else target
    grid = sweeping.Grid(criteria, ratios, seeds, calibration, calibration_file, targets)
    recipe = Recipe(scope=scope, min_states=min_states, shape=shape)
    said = tell or (lambda _: None)
    with shown(progress) as bar:
        return sweeping.sweep(checkpoint, request, grid, recipe, out=out, progress=bar, tell=said)


def compare(
    *checkpoints: Checkpoint | str | Path, task: str | None = None, split: str = "test", limit: int | None = None,
    data_dir: str | Path | None = None, batch_size: int | None = None, device: str | None = None,
    names: Sequence[str] | None = None, progress: Progress | bool | None = True,
) -> CompareReport:  # fmt: skip
    """Accuracy or perplexity of several checkpoints on the same sequences, each against the first one.

    Args:
        checkpoints: open ones, or their paths; the first is the baseline.
        task, split, limit, data_dir, batch_size, device: see `evaluate`.
        names: what each is called; those of one name are seeds of one model, and their mean is reported.
        progress: False shows none; or what is called with what is being done, and how many of how many are done.

    Raises:
        CheckpointError, DataError: as in `evaluate`.
        UsageError: as in `evaluate`, or there is nothing to compare.
    """
    from last_cli.api.progress import shown
    from last_cli.checkpoint.checkpoint import opened
    from last_cli.evaluation import compare as comparing
    from last_cli.evaluation.evaluate import Request, trained_on

    models = [opened(checkpoint) for checkpoint in checkpoints]
    comparing.several(models, names)
    request = Request(trained_on(models[0], task), split, data_dir, limit, batch_size, device)
    with shown(progress) as bar:
        return comparing.compare(models, request, names, bar)


def bench(
    *checkpoints: str | Path, length: int | None = None, batch: int = 32, repeat: int = 20, device: str | None = None,
    precision: str = "float32", preset: str | None = None, config_from: str | Path | None = None,
    discretization: str | None = None, conj_sym: bool | None = None, clip_eigs: bool | None = None,
    step_rescale: float | None = None, activation: str | None = None, prenorm: bool | None = None,
    mode: str | None = None, padded: bool | None = None, progress: Progress | bool | None = True,
) -> BenchReport:  # fmt: skip
    """Latency, throughput and peak memory of checkpoints, on the same random sequences of a length.

    Each runs in a process of its own, and they take turns of a few batches; see evaluation.bench.

    Args:
        checkpoints: paths; the first is the baseline.
        length: steps of the sequences; by default as many as the first checkpoint was trained on.
        batch: sequences in a batch, spread over all devices.
        repeat: how many batches are timed.
        device: "cpu", "gpu" or "tpu"; by default what JAX prefers.
        precision: "float32" or "bfloat16".
        preset, config_from, discretization, conj_sym, clip_eigs, step_rescale: what trees do not say; see `load`.
        activation, prenorm, mode, padded: the same; see `load`.
        progress: False shows none; or what is called with what is being done, and how many of how many are done.

    Raises:
        CheckpointError: one cannot be read or run.
        UsageError: nothing to time, numbers that make no sense, or nothing tells the length.
    """
    from last_cli.api.progress import shown
    from last_cli.evaluation import bench as benchmarking

    said = {
        "discretization": discretization,
        "conj_sym": conj_sym,
        "clip_eigs": clip_eigs,
        "step_rescale": step_rescale,
    }
    said |= {"activation": activation, "prenorm": prenorm, "mode": mode, "padded": padded}
    said |= {"preset": preset, "config_from": None if config_from is None else str(config_from)}
    request = benchmarking.BenchRequest(length, batch, repeat, device, precision, said)
    with shown(progress) as bar:
        return benchmarking.bench(checkpoints, request, bar)
