"""`last`: score, prune and evaluate trained diagonal state space models.

import last_cli as last
ck = last.load("ckpt")
report = last.score(ck)
small = last.prune(ck, ratio=0.33)
last.save(small, "pruned")
model, variables = last.build_model(small)
last.evaluate(small, "listops")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from last_cli.base.errors import (
    AnswerIsNo,
    CheckpointError,
    DataError,
    LastError,
    OutputError,
    UnstableStateError,
    UsageError,
)
from last_cli.base.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from last_cli.base.progress import Progress
    from last_cli.checkpoint.checkpoint import Checkpoint
    from last_cli.checkpoint.convert.export import export_weights
    from last_cli.checkpoint.convert.import_ import import_weights
    from last_cli.checkpoint.diff import diff
    from last_cli.checkpoint.inspect import inspect
    from last_cli.checkpoint.network import build_model
    from last_cli.checkpoint.save import save
    from last_cli.evaluation.resume import Tell
    from last_cli.pruning.verify import verify
    from last_cli.results.bench import BenchReport
    from last_cli.results.config import ConfigReport
    from last_cli.results.evaluation import EvalReport
    from last_cli.results.score import ScoreReport
    from last_cli.results.sweep import SweepReport

__all__ = [
    "AnswerIsNo", "Checkpoint", "CheckpointError", "DataError", "LastError", "OutputError", "UnstableStateError",
    "UsageError", "__version__", "bench", "build_model", "config", "diff", "evaluate", "export_weights",
    "import_weights", "inspect", "load", "prune", "save", "score", "sweep", "verify",
]  # fmt: skip


def load(
    path: str | Path, *, step: int | None = None, item: str | None = None, preset: str | None = None,
    config_from: str | Path | None = None, discretization: str | None = None, conj_sym: bool | None = None,
    clip_eigs: bool | None = None, step_rescale: float | None = None, activation: str | None = None,
    prenorm: bool | None = None, mode: str | None = None, padded: bool | None = None, dropout: float | None = None,
    bn_momentum: float | None = None,
) -> Checkpoint:  # fmt: skip
    """Open a checkpoint; its arrays are read when they are needed.

    From `discretization` on, the options are what the tree does not say of the model. One that is given wins over the
    preset, that over `config_from`, that over the checkpoint and configurations beside it; else it is assumed.

    Args:
        path: a checkpoint, a step, or a run's directory (its newest committed step is taken).
        step: which step of a run.
        item: which item of a step, where there are several.
        preset: name of a published configuration, such as "s5-lra-listops".
        config_from: another checkpoint of the same model, or a configuration file (JSON or YAML), for the same.
        discretization: "zoh", "bilinear" or "dirac".
        conj_sym: each stored state stands for a conjugate pair.
        clip_eigs: real parts of the poles are clipped at -1e-4.
        step_rescale: factor on all step sizes.
        activation: the gate, "full_glu", "half_glu1", "half_glu2" or "gelu".
        prenorm: the norm stands before the SSM, not after the residual sum.
        mode: "pool" (mean over time) or "last" (the last step).
        padded: the mean runs over each sequence's own length only.
        dropout: rate while training; evaluation has none.
        bn_momentum: of the running statistics while training.

    Raises:
        CheckpointError: no checkpoint is there, it cannot be read, or it has no SSM layer.
        UsageError: an unknown preset, a value that is none of the allowed ones, or `config_from` is of another model.
    """
    from last_cli.checkpoint import checkpoint as opening

    return opening.load(
        path, step=step, item=item, preset=preset, config_from=config_from, discretization=discretization,
        conj_sym=conj_sym, clip_eigs=clip_eigs, step_rescale=step_rescale, activation=activation, prenorm=prenorm,
        mode=mode, padded=padded, dropout=dropout, bn_momentum=bn_momentum,
    )  # fmt: skip


def score(
    checkpoint: Checkpoint | str | Path, criterion: str = "last", *, ratio: float | None = None,
    layer: str | None = None, scope: Literal["global", "layer"] | None = None, min_states: int = 1, seed: int = 0,
    shape: Literal["ragged", "rectangular"] = "ragged", allow_unstable: bool = False, horizon: int | None = None,
    target: str | None = None, multiple_of: int | None = None,
    calibration: int | None = None, task: str | None = None, calibration_file: str | Path | None = None,
    data_dir: str | Path | None = None, progress: Progress | None = None,
) -> ScoreReport:  # fmt: skip
    """H-infinity norms and scores of every state, and with a ratio which states would stay.

    Args:
        checkpoint: an open one, or its path.
        criterion: how states are scored; `last list criteria` describes them.
        ratio: share of all states that would be removed, in [0, 1).
        layer: report only layers whose name, or its part, matches this glob; selection still ranks all of them.
        seed: of the criterion random, of what is drawn from the sequences, and of inputs made without data.
        allow_unstable: proceed despite unstable poles (|lam| >= 1).
        horizon: steps that the criterion `energy` looks ahead; by default the trained length.
        scope, min_states, shape, target, multiple_of: see `prune`.
        calibration: how many sequences, without labels, a criterion such as `gn` runs the network on; see `prune`.
        task, calibration_file, data_dir: whose, or of which file, and where the task's files are; see `prune`.
        progress: called with what is being done, and how many of how many are done.

    Raises:
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or no network for `gn` to run.
        DataError: the calibration sequences cannot be read.
        UsageError: an unknown criterion, a ratio outside [0, 1), or a glob that matches nothing.
    """
    from last_cli.pruning import score as scoring
    from last_cli.pruning.calibration.request import Calibration
    from last_cli.pruning.recipe import Recipe

    recipe = Recipe(
        criterion, scope=scope, min_states=min_states, seed=seed, shape=shape, horizon=horizon, target=target,
        multiple_of=multiple_of, allow_unstable=allow_unstable,
    )  # fmt: skip
    sequences = Calibration(calibration, task, calibration_file, data_dir)
    return scoring.score(
        _opened(checkpoint), recipe, ratio=ratio, layer=layer, calibration=sequences, progress=progress
    )


def prune(
    checkpoint: Checkpoint | str | Path, ratio: float | None = None, criterion: str = "last", *,
    max_drop: float | None = None, max_error: float | None = None, strict: bool = False, estimate: bool = False,
    assume: bool = False, method: str = "criterion", refit: bool = False,
    calibration: int | None = None, task: str | None = None, calibration_file: str | Path | None = None,
    data_dir: str | Path | None = None, scope: Literal["global", "layer"] | None = None, min_states: int = 1,
    seed: int = 0, shape: Literal["ragged", "rectangular"] = "ragged", masked: bool = False,
    target: str | None = None, multiple_of: int | None = None, stock: bool = False, pattern: str | None = None,
    modules: str | None = None, keep: str | Path | Mapping[str, Any] | None = None, allow_unstable: bool = False,
    horizon: int | None = None, drop: Sequence[str] | str | None = None, progress: Progress | None = None,
) -> Checkpoint:  # fmt: skip
    """The checkpoint with `ratio` of its states removed, or as many as a budget allows, in memory; `save` writes it.

    Args:
        checkpoint: an open one, or its path; it stays as it is.
        ratio: share of all states to remove, in [0, 1). Exactly one of ratio, max_drop and max_error is given.
        criterion: how states are scored; "reconstruct" and "balanced" mean the method.
        max_drop: percentage points of accuracy that may be lost on the validation split of `task`, never on a test
            split; `task` alone does not calibrate then, `calibration` does.
        max_error: relative squared error of the centred logits, sum |l' - l|^2 / sum |l|^2, without labels, on
            calibration sequences: others than C is refitted on, if there are any left.
        strict, estimate: of max_error one standard error more counts; of max_drop the estimate, not its upper limit.
        assume: keep to the budget even where a guess of the configuration decides what the network answers.
        method: "criterion" removes what scores lowest and keeps every other value bit-equal; "reconstruct" eliminates
            greedily and refits C; "balanced" truncates the balanced system, with new poles.
        refit: refit C after the criterion's choice.
        calibration: how many sequences, without labels, to measure the states on; where none of this, task and
            calibration_file is given, they are made without data (length unknown: white inputs in closed form).
        task, data_dir: whose, by default the one that the checkpoint was trained on, and where its files are.
        calibration_file: or a file of them: .npz of x and lengths; for language models also a text, .txt.
        scope: "global" ranks all layers together, "layer" each alone; by default what the target has.
        min_states: minimum states to keep per layer (0 allows none).
        seed: of the criterion random, of what is drawn from the sequences, and of inputs made without data.
        shape: S4D only: "rectangular" keeps as many states in every channel, "ragged" pads to the widest.
        masked, target: keep all shapes, and zero B and C; what is removed, by default states.
        multiple_of: language models: round what every group keeps up to a multiple; by default 8, below 16 states 1.
        keep: instead of a ratio, exactly these units: a file, another checkpoint of `last`, or what its stamp holds.
        stock: language models: zeros up to the largest layer, for stock classes.
        pattern, modules: target weights: "2:4"; whose, of "in_proj,out_proj,mlp", by default of the first.
        allow_unstable, horizon: go on with poles at or beyond the unit circle; how far the criterion `energy` looks.
        drop: globs of what is left out because code makes it anew, such as caches and optimizer states: paths in the
            tree, parts of such, or other items of the step.
        progress: called with what is being done, and how many of how many are done.

    Returns:
        The smaller checkpoint. Its `report` says what was done, and with a budget what was measured.

    Raises:
        AnswerIsNo: not even the smallest ratio stays within the budget.
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or no network to run.
        DataError: the sequences cannot be read.
        UsageError: arguments that do not go together, a ratio outside [0, 1), a task without validation data, or a
            budget where a guess of the configuration decides what the network answers.
    """
    from last_cli.checkpoint.drop import without
    from last_cli.pruning import budget, keep as kept, prune as pruning, recipe  # isort: skip
    from last_cli.pruning.calibration.request import Calibration

    rules = {"strict": strict, "estimate": estimate, "assume": assume}
    extent = 0.0 if keep is not None else budget.ratio_or_budget(ratio, max_drop, max_error, **rules)
    how = recipe.recipe(
        criterion, method, scope=scope, min_states=min_states, seed=seed, shape=shape, refit=refit, masked=masked,
        horizon=horizon, target=target, multiple_of=multiple_of, stock=stock, pattern=pattern, modules=modules,
        allow_unstable=allow_unstable,
    )  # fmt: skip
    sequences = Calibration(calibration, task, calibration_file, data_dir)
    opened = without(_opened(checkpoint), drop or ())
    if keep is not None:
        return kept.prune_kept(opened, keep, how, sequences, (ratio, max_drop, max_error))
    if isinstance(extent, budget.Budget):
        return budget.prune_within(opened, extent, how, sequences, progress)
    return pruning.prune(opened, extent, how, sequences, progress)


def config(
    path: str | Path, *, step: int | None = None, item: str | None = None, preset: str | None = None,
    config_from: str | Path | None = None, discretization: str | None = None, conj_sym: bool | None = None,
    clip_eigs: bool | None = None, step_rescale: float | None = None, activation: str | None = None,
    prenorm: bool | None = None, mode: str | None = None, padded: bool | None = None, dropout: float | None = None,
    bn_momentum: float | None = None, task: str | None = None, task_settings: Mapping[str, Any] | None = None,
) -> ConfigReport:  # fmt: skip
    """Every value of a checkpoint's configuration and its origin; what is given is written down beside the arrays.

    It goes into `last.json` in the directory, beside a file into NAME.last.json, whole or not at all; all else that is
    there, such as the chain of prunings, stays.

    Args:
        path, step, item: which checkpoint; see `load`.
        preset, config_from, discretization, conj_sym, clip_eigs, step_rescale: what the tree does not say; see `load`.
        activation, prenorm, mode, padded, dropout, bn_momentum: the same; see `load`.
        task, task_settings: what it was trained on, such as "listops", {"max_length": 64}.

    Raises:
        CheckpointError, UsageError: as `load`, or the tree does not allow what is given.
        OutputError: it cannot be written; nothing is changed.
    """
    from last_cli.checkpoint import config as configuring

    return configuring.config(
        path, step=step, item=item, task=task, task_settings=task_settings, preset=preset, config_from=config_from,
        discretization=discretization, conj_sym=conj_sym, clip_eigs=clip_eigs, step_rescale=step_rescale,
        activation=activation, prenorm=prenorm, mode=mode, padded=padded, dropout=dropout, bn_momentum=bn_momentum,
    )  # fmt: skip


def evaluate(
    checkpoint: Checkpoint | str | Path, task: str | None = None, *, split: str = "test", limit: int | None = None,
    data_dir: str | Path | None = None, batch_size: int | None = None, device: str | None = None,
    precision: str = "float32", baseline: Checkpoint | str | Path | None = None, min_accuracy: float | None = None,
    max_drop: float | None = None, strict: bool = False, window: int | None = None, stride: int | None = None,
    max_perplexity: float | None = None, max_increase: float | None = None, assume: bool = False, resume: bool = False,
    progress: Progress | None = None, tell: Tell | None = None,
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
        progress, tell: called with what is being done, and how much of it is done; with a line, and its kind.

    Raises:
        CheckpointError: the tree is no model that can be built, or its logits are not finite.
        DataError: the task's files are missing, or do not fit the model.
        UsageError: unknown names, a gate without its baseline, one outside 0 to 1, or one that a guess would decide.
    """
    from last_cli.evaluation import evaluate as evaluation

    checkpoint = _opened(checkpoint)
    task = evaluation.trained_on(checkpoint, task)
    request = evaluation.Request(task, split, data_dir, limit, batch_size, device, precision, window, stride)
    limits = evaluation.Limits(min_accuracy, max_drop, strict, max_perplexity, max_increase, assume)
    return evaluation.evaluate(
        checkpoint, request, baseline=baseline, limits=limits, resume=resume, progress=progress, tell=tell
    )


def sweep(
    checkpoint: Checkpoint | str | Path, task: str | None = None, *, ratios: str | Sequence[float] = "0:0.9:0.1",
    criteria: Sequence[str] | None = None, seeds: int = 3, calibration: int | None = None,
    calibration_file: str | Path | None = None, split: str | None = None, limit: int | None = None,
    data_dir: str | Path | None = None, batch_size: int | None = None, device: str | None = None,
    scope: Literal["global", "layer"] | None = None, min_states: int = 1, out: str | Path | None = None,
    shape: Literal["ragged", "rectangular"] = "ragged", progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> SweepReport:  # fmt: skip
    """How good a checkpoint pruned in several ways, at several ratios, is on the same sequences of a task's split.

    A ratio must be chosen on "val" (or by `prune(max_drop=...)`) and reported on "test".

    Args:
        checkpoint, task: see `evaluate`.
        ratios: "START:STOP:STEP" with both ends in it, "0.1,0.33,0.5", or numbers in [0, 1).
        criteria: criteria, "reconstruct", "balanced", or NAME+refit for C refitted after; None: what suits the layers.
        seeds: how many, from 0, for what depends on one: random choices and inputs.
        calibration: sequences of the task, without labels, to measure the states on; else made without data.
        calibration_file: or a file of them, as for `prune`.
        split: by default the task's own validation split, "test" where it has none.
        limit, data_dir, batch_size, device: see `evaluate`.
        scope, min_states, shape: see `prune`.
        out: a directory for points.jsonl, one line per point. A rerun resumes a sweep that was killed, or adds to it.
        progress, tell: called with what is being done, and how many of how many are done; with what it will cost.

    Raises:
        CheckpointError, DataError: as in `evaluate`.
        UsageError: unknown names, ratios that make no sense, or `out` is of another sweep.
    """
    from last_cli.evaluation.evaluate import Request, trained_on
    from last_cli.pruning import sweep as sweeping
    from last_cli.pruning.recipe import Recipe

    checkpoint = _opened(checkpoint)
    task = trained_on(checkpoint, task)
    request = Request(task, split or sweeping.usual_split(task), data_dir, limit, batch_size, device)
    grid = sweeping.Grid(criteria, ratios, seeds, calibration, calibration_file)
    recipe = Recipe(scope=scope, min_states=min_states, shape=shape)
    said = tell or (lambda _: None)
    return sweeping.sweep(checkpoint, request, grid, recipe, out=out, progress=progress, tell=said)


def bench(
    *checkpoints: str | Path, length: int | None = None, batch: int = 32, repeat: int = 20, device: str | None = None,
    precision: str = "float32", preset: str | None = None, config_from: str | Path | None = None,
    discretization: str | None = None, conj_sym: bool | None = None, clip_eigs: bool | None = None,
    step_rescale: float | None = None, activation: str | None = None, prenorm: bool | None = None,
    mode: str | None = None, padded: bool | None = None, progress: Progress | None = None,
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
        progress: called with what is being done, and how many of how many are done.

    Raises:
        CheckpointError: one cannot be read or run.
        UsageError: nothing to time, numbers that make no sense, or nothing tells the length.
    """
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
    return benchmarking.bench(checkpoints, request, progress)


def _opened(checkpoint: Checkpoint | str | Path) -> Checkpoint:
    """The checkpoint itself, or the one at a path."""
    from last_cli.checkpoint import checkpoint as opening

    return opening.opened(checkpoint)


# What takes a path as it is, and is complete where it stands.
_ELSEWHERE = {
    "Checkpoint": "last_cli.checkpoint.checkpoint",
    "build_model": "last_cli.checkpoint.network",
    "diff": "last_cli.checkpoint.diff",
    "export_weights": "last_cli.checkpoint.convert.export",
    "import_weights": "last_cli.checkpoint.convert.import_",
    "inspect": "last_cli.checkpoint.inspect",
    "save": "last_cli.checkpoint.save",
    "verify": "last_cli.pruning.verify",
}


def __getattr__(name: str) -> Any:
    """Imported when first used."""
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module 'last_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
