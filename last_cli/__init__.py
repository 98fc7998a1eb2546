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

from last_cli.base import signals as _  # noqa: F401  # isort: skip  # First: it may be interrupted from now on.
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
from last_cli.display.terminal import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from last_cli.base.progress import Progress, Tell
    from last_cli.checkpoint.checkpoint import Checkpoint
    from last_cli.checkpoint.convert.export import export_weights
    from last_cli.checkpoint.convert.import_ import import_weights
    from last_cli.checkpoint.diff import diff
    from last_cli.checkpoint.inspect import inspect
    from last_cli.checkpoint.network import build_model
    from last_cli.checkpoint.save import save
    from last_cli.pruning.verify import verify
    from last_cli.results.bench import BenchReport
    from last_cli.results.compare import CompareReport
    from last_cli.results.config import ConfigReport
    from last_cli.results.evaluation import EvalReport
    from last_cli.results.score import ScoreReport
    from last_cli.results.sweep import SweepReport

__all__ = [
    "AnswerIsNo", "Checkpoint", "CheckpointError", "DataError", "LastError", "OutputError", "UnstableStateError",
    "UsageError", "__version__", "bench", "build_model", "compare", "config", "diff", "evaluate", "export_weights",
    "import_weights", "inspect", "load", "prune", "save", "score", "sweep", "tune", "verify",
]  # fmt: skip

# What lower rooms define; imported when it is first asked for.
_HOMES = {
    "Checkpoint": "checkpoint.checkpoint", "build_model": "checkpoint.network", "diff": "checkpoint.diff",
    "export_weights": "checkpoint.convert.export", "import_weights": "checkpoint.convert.import_",
    "inspect": "checkpoint.inspect", "save": "checkpoint.save", "verify": "pruning.verify",
}  # fmt: skip


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
        step, item: which step of a run, and which item of a step, where there are several.
        preset: name of a published configuration, such as "s5-lra-listops".
        config_from: another checkpoint of the same model, or a configuration file (JSON or YAML), for the same.
        discretization: "zoh", "bilinear" or "dirac".
        conj_sym, clip_eigs: each stored state stands for a conjugate pair; poles' real parts are clipped at -1e-4.
        step_rescale: factor on all step sizes.
        activation: the gate, "full_glu", "half_glu1", "half_glu2" or "gelu".
        prenorm, mode: the norm stands before the SSM, not after the residual sum; "pool" (mean over time) or "last".
        padded: the mean runs over each sequence's own length only.
        dropout, bn_momentum: rate, and momentum of the running statistics, while training; evaluation uses neither.

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
        path, step, item, preset, config_from, discretization, conj_sym, clip_eigs, step_rescale, activation, prenorm,
            mode, padded, dropout, bn_momentum: which checkpoint, and what the tree does not say; see `load`.
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


def score(
    checkpoint: Checkpoint | str | Path, criterion: str = "last", *, ratio: float | None = None,
    layer: str | None = None, scope: Literal["global", "layer"] | None = None, min_states: int = 1, seed: int = 0,
    shape: Literal["rectangular", "ragged"] | None = None, allow_unstable: bool = False, horizon: int | None = None,
    target: str | None = None, multiple_of: int | None = None,
    calibration: int | None = None, task: str | None = None, calibration_file: str | Path | None = None,
    data_dir: str | Path | None = None, length: int | None = None, progress: Progress | bool | None = True,
) -> ScoreReport:  # fmt: skip
    """H-infinity norms and scores of every state, and with a ratio which states would stay.

    Args:
        checkpoint, criterion, ratio, scope, min_states, seed, shape, allow_unstable, horizon, target, multiple_of,
            progress: see `prune`; nothing is removed.
        layer: report only layers whose name, or its part, matches this glob; selection still ranks all of them.
        calibration, task, calibration_file, data_dir, length: what a criterion such as `gn` runs on; see `prune`.

    Raises:
        CheckpointError, DataError, UsageError: as `prune`, or a glob that matches nothing.
    """
    from last_cli.pruning import score as scoring
    from last_cli.pruning.calibration.request import Calibration

    recipe = scoring.Recipe(
        criterion, scope=scope, min_states=min_states, seed=seed, shape=shape, horizon=horizon, target=target,
        multiple_of=multiple_of, allow_unstable=allow_unstable,
    )  # fmt: skip
    sequences = Calibration(calibration, task, calibration_file, data_dir, length)
    with shown(progress) as bar:
        return scoring.score(checkpoint, recipe, ratio=ratio, layer=layer, calibration=sequences, progress=bar)


def prune(
    checkpoint: Checkpoint | str | Path, ratio: float | None = None, criterion: str = "last", *,
    max_drop: float | None = None, max_increase: float | None = None, max_error: float | None = None,
    strict: bool = False, estimate: bool = False, assume: bool = False, method: str = "criterion", refit: bool = False,
    calibration: int | None = None, task: str | None = None, calibration_file: str | Path | None = None,
    data_dir: str | Path | None = None, length: int | None = None,
    scope: Literal["global", "layer"] | None = None, min_states: int = 1, seed: int = 0,
    shape: Literal["rectangular", "ragged"] | None = None, masked: bool = False, tune: bool = False,
    target: str | None = None, multiple_of: int | None = None, stock: bool = False, pattern: str | None = None,
    modules: str | None = None, keep: str | Path | Mapping[str, Any] | None = None, allow_unstable: bool = False,
    horizon: int | None = None, drop: Sequence[str] | str | None = None, progress: Progress | bool | None = True,
) -> Checkpoint:  # fmt: skip
    """The checkpoint with `ratio` of its states removed, or as many as a budget allows, in memory; `save` writes it.

    Its `report` says what was done, and with a budget what was measured.

    Args:
        checkpoint: an open one, or its path; it stays as it is.
        ratio: share of all states to remove, in [0, 1). Exactly one of ratio, keep and the three limits is given.
        criterion: how states are scored, see `last list criteria`; "reconstruct" and "balanced" mean the method.
        max_drop: percentage points of accuracy that may be lost on the validation split of `task`, never on a test
            split; `task` alone does not calibrate then, `calibration` does.
        max_increase: share by which the perplexity of a text may grow: of `task`, else of `calibration_file`.
        max_error: relative squared error of the centred logits, sum |l' - l|^2 / sum |l|^2, without labels, on
            calibration sequences: others than C is refitted on, if there are any left.
        strict, estimate: of max_error one standard error more counts; of the others the estimate, not its upper limit.
        assume: keep to the budget even where a guess of the configuration decides what the network answers.
        method, refit: "criterion" removes what scores lowest, keeps other values bit-equal and may refit C afterwards;
            "reconstruct" eliminates greedily and refits C; "balanced" truncates the balanced system, with new poles.
        calibration: how many sequences, without labels, to measure the states on; where none of this, task and
            calibration_file is given, they are made without data (length unknown: white inputs in closed form).
        task, data_dir: whose, by default the one that the checkpoint was trained on, and where its files are.
        calibration_file: or a file of them: .npz of x and lengths; for language models also a text, .txt.
        length: steps of sequences that are made without data, where nothing says how many the trained ones have.
        scope: "global" ranks all layers together, "layer" each alone; by default what the target has.
        min_states: minimum states to keep per layer (0 allows none).
        seed: of the criterion random, of what is drawn from the sequences, and of inputs made without data.
        shape: S4D: None is "rectangular", as many states in every channel, and "ragged" with "last-reference".
        masked, target: keep all shapes, and zero B and C; what is removed, by default states.
        tune: then train what stays towards the unpruned network's answers, on the file or training split; see `tune`.
        multiple_of: language models: round what every group keeps up to a multiple; by default 8, below 16 states 1.
        keep: exactly these units: a file, another checkpoint of `last`, or what its stamp holds.
        stock, pattern, modules: language models: zeros up to the largest layer, for stock classes; of the target
            weights: "2:4", which is the ratio; whose, of "in_proj,out_proj,mlp": else the first.
        allow_unstable, horizon: proceed despite unstable poles (|lam| >= 1); steps, of the criterion `energy`.
        drop: globs of paths in the tree, parts of such or items of the step: left out, as code makes it anew.
        progress: False shows none; or what is called with what is being done, how much of it is done, and of how much.

    Raises:
        AnswerIsNo: not even the smallest ratio stays within the budget.
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or no network to run.
        DataError: the sequences cannot be read.
        UsageError: arguments that do not go together or make no sense, or a budget that a guess would decide.
    """
    from last_cli.checkpoint.drop import without
    from last_cli.pruning.extent import Calibration, Extent, prune_to
    from last_cli.pruning.recipe import recipe

    extent = Extent(ratio, keep, max_drop, max_increase, max_error, strict, estimate, assume)
    how = recipe(
        criterion, method, scope=scope, min_states=min_states, seed=seed, shape=shape, refit=refit, masked=masked,
        horizon=horizon, target=target, multiple_of=multiple_of, stock=stock, pattern=pattern, modules=modules,
        allow_unstable=allow_unstable,
    )  # fmt: skip
    sequences = Calibration(calibration, task, calibration_file, data_dir, length)
    with shown(progress) as bar:
        return prune_to(without(checkpoint, drop), extent, how, sequences, tune=tune, progress=bar)


def tune(
    checkpoint: Checkpoint | str | Path, teacher: Checkpoint | str | Path, *, task: str | None = None,
    calibration_file: str | Path | None = None, data_dir: str | Path | None = None, split: str = "train",
    sequences: int = 8000, steps: int | None = None, minutes: float | None = None, seed: int = 0,
    device: str | None = None, resume: bool = False, progress: Progress | bool | None = True, tell: Tell | None = None,
) -> Checkpoint:  # fmt: skip
    """A pruned checkpoint with what it keeps trained towards the unpruned one's answers, in memory; `save` writes it.

    No label is read. Poles, steps, B and C of the states change, all else stays bit-equal, but for the moments of an
    optimizer that belong to them, which become zero. One in eight sequences is held out: the result is never worse
    there than the start. Its `tuned` says what was done.

    Args:
        checkpoint, teacher: S5, S4D or LRU, in any parameterisation, and what it was pruned from; open, or paths.
        task, data_dir: whose sequences, by default the task that it was trained on, and where its files are.
        calibration_file: or a file of them, whatever they are: .npz of x and, where padded, lengths.
        split, sequences: "train" or "val", never "test"; and how many at most: few hundred are soon learned by heart.
        steps, minutes, seed: how many at most, by default 4,000; or as many as fit into these; of draws and order.
        device, resume, progress, tell: see `evaluate`.

    Raises:
        CheckpointError, DataError: no network that runs, its answers are not finite, or the sequences do not fit it.
        UsageError: layers that are no linear systems, a teacher of another network, a test split, or no sequences.
    """
    from last_cli.pruning.tune import tune as tuning

    inputs = tuning.Sequences(sequences, task, calibration_file, data_dir, split, device)
    length = tuning.Length(steps, minutes, seed)
    with shown(progress) as bar:
        return tuning.tune(checkpoint, teacher, inputs, length, resume=resume, progress=bar, tell=tell)


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
        checkpoint, baseline: open ones, or their paths; compared sequence by sequence.
        task: a name (`last list tasks`), FILE.npz of arrays or FILE.txt; by default the one that it was trained on.
        split, limit: "test", "val" or "train", and only so many of its sequences, the first ones.
        data_dir: where the task's files are; without it the task finds or makes its own.
        window, stride: of texts: tokens that are read at most, and from window to window (2048, and the window).
        batch_size, device: sequences that a device takes at a time; "cpu", "gpu" or "tpu", else what JAX prefers.
        precision: "float32", or "bfloat16": the model (not the baseline) then runs in both, and the report compares.
        min_accuracy, max_perplexity: gates: a fraction, and by token.
        max_drop, max_increase: gates: points of accuracy that the baseline may have more; a fraction of its perplexity.
        strict, assume: judge the drop's upper limit at 95 %; judge even where a guess decides what the network answers.
        resume: take up the results that an interrupted run of the same evaluation left.
        progress: False shows none; or what is called with what is being done, how much of it is done, and of how much.
        tell: called with a line for the user, and its kind.

    Raises:
        CheckpointError: the tree is no model that can be built, or its logits are not finite.
        DataError: the task's files are missing, or do not fit the model.
        UsageError: unknown names, a gate without its baseline, one outside 0 to 1, or one that a guess would decide.
    """
    from last_cli.evaluation import evaluate as evaluation

    checkpoint, task = evaluation.trained_on(checkpoint, task)
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
    progress: Progress | bool | None = True, tell: Tell | None = None,
) -> SweepReport:  # fmt: skip
    """How good a checkpoint pruned in several ways, at several ratios, is on the same sequences of a task's split.

    A ratio must be chosen on "val" (or by `prune(max_drop=...)`) and reported on "test".

    Args:
        checkpoint, task, limit, data_dir, batch_size, device, progress, tell: see `evaluate`.
        ratios: "START:STOP:STEP" with both ends in it, "0.1,0.33,0.5", or numbers in [0, 1).
        target: what goes, one or several, each combined with the criteria that can remove it.
        criteria: criteria, "reconstruct", "balanced", or NAME+refit for C refitted after; None: what suits the layers.
        seeds: how many, from 0, for what depends on one: random choices and inputs.
        calibration, calibration_file, scope, min_states, shape: see `prune`; the sequences are the task's, or a file's.
        split: by default the task's own validation split, "test" where it has none.
        out: a directory for points.jsonl, one line per point. A rerun resumes a sweep that was killed, or adds to it.

    Raises:
        CheckpointError, DataError, UsageError: as `evaluate`, ratios of no sense, or `out` is of another sweep.
    """
    from last_cli.evaluation.evaluate import trained_on
    from last_cli.pruning import sweep as sweeping

    checkpoint, task = trained_on(checkpoint, task)
    request = sweeping.Request(task, split or sweeping.usual_split(task), data_dir, limit, batch_size, device)
    grid = sweeping.Grid(criteria, ratios, seeds, calibration, calibration_file, target)
    recipe = sweeping.Recipe(scope=scope, min_states=min_states, shape=shape)
    with shown(progress) as bar:
        return sweeping.sweep(checkpoint, request, grid, recipe, out=out, progress=bar, tell=tell)


def compare(
    *checkpoints: Checkpoint | str | Path, task: str | None = None, split: str = "test", limit: int | None = None,
    data_dir: str | Path | None = None, batch_size: int | None = None, device: str | None = None,
    names: Sequence[str] | None = None, progress: Progress | bool | None = True,
) -> CompareReport:  # fmt: skip
    """Accuracy or perplexity of several checkpoints on the same sequences, each against the first one.

    Args:
        checkpoints: open ones, or their paths; the first is the baseline.
        task, split, limit, data_dir, batch_size, device, progress: see `evaluate`.
        names: what each is called; those of one name are seeds of one model, and their mean is reported.

    Raises:
        CheckpointError, DataError, UsageError: as in `evaluate`, or there is nothing to compare.
    """
    from last_cli.evaluation import compare as comparing

    models, task = comparing.several(checkpoints, task, names)
    request = comparing.Request(task, split, data_dir, limit, batch_size, device)
    with shown(progress) as bar:
        return comparing.compare(models, request, names, bar)


def bench(
    *checkpoints: Checkpoint | str | Path, length: int | None = None, batch: int = 32, repeat: int = 20,
    device: str | None = None, precision: str = "float32", progress: Progress | bool | None = True,
) -> BenchReport:  # fmt: skip
    """Latency, throughput and peak memory of checkpoints, on the same random sequences of a length.

    Each runs in a process of its own, which reads it from disk, and they take turns of a few batches.

    Args:
        checkpoints: open ones, or their paths; the first is the baseline.
        length: steps of the sequences; by default as many as the first checkpoint was trained on.
        batch, repeat: sequences in a batch, spread over all devices; how many batches are timed.
        device, precision, progress: see `evaluate`; one of the two precisions runs.

    Raises:
        CheckpointError, UsageError: one cannot be read or run, was changed in memory, or nothing tells the length.
    """
    from last_cli.evaluation import bench as benchmarking

    request = benchmarking.BenchRequest(length, batch, repeat, device, precision)
    with shown(progress) as bar:
        return benchmarking.bench(checkpoints, request, bar)


def __getattr__(name: str) -> Any:
    """Imported when first used."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'last_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
