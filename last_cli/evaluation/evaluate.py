"""A model on a task's split: accuracy or perplexity, loss, speed, and the paired difference to a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from last_cli.base.errors import CheckpointError, DataError, UsageError, resumable
from last_cli.base.progress import Progress, Tell
from last_cli.base.rows import blocks
from last_cli.base.words import counted
from last_cli.checkpoint.checkpoint import Checkpoint, load, opened
from last_cli.checkpoint.guess import Guess, guesses, refuse_guesses, task_guesses, told
from last_cli.checkpoint.network import follow_padding, model_spec, network_of
from last_cli.evaluation import processes
from last_cli.evaluation.devices import refuse_useless, start_devices
from last_cli.evaluation.measure import Request, measure
from last_cli.evaluation.metrics import GATES, compare, expect, precision_loss
from last_cli.evaluation.resume import Session
from last_cli.families.network import Spec, check_precision
from last_cli.results.evaluation import Comparison, EvalReport, Gate, Increase, Measured, Precision
from last_cli.tasks.find import find, split_of
from last_cli.tasks.task import ACCURACY, Split
from last_cli.tasks.tokenizer import tokenizer_digest

__all__ = ["Limits", "Request", "described", "evaluate", "follow_task", "load_split", "measure", "start_devices"]


@dataclass(frozen=True)
class Limits:
    """Gates of a script.

    Attributes:
        min_accuracy: a fraction.
        max_drop: percentage points that the accuracy may lie below the baseline's.
        strict: of that drop an upper limit counts, not the estimate; see metrics.upper_limit.
        max_perplexity: by token.
        max_increase: share by which the perplexity may lie above the baseline's.
        assume: judge even where a guess decides the answers.
    """

    min_accuracy: float | None = None
    max_drop: float | None = None
    strict: bool = False
    max_perplexity: float | None = None
    max_increase: float | None = None
    assume: bool = False

    @property
    def judged(self) -> list[str]:
        """The gates that are set."""
        return [name for name in GATES if getattr(self, name) is not None]


NO_LIMITS = Limits()


def evaluate(
    checkpoint: Checkpoint,
    request: Request,
    *,
    baseline: Checkpoint | str | Path | None = None,
    limits: Limits = NO_LIMITS,
    resume: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> EvalReport:
    """Accuracy or perplexity of a checkpoint on a task, and against a baseline on the same sequences.

    Where `jax.distributed` has joined several processes, all of them call this, each evaluates its share, and all get
    the whole report.

    Args:
        checkpoint: the model.
        baseline: another, or its path, to compare with sequence by sequence.
        limits: gates that the report judges.
        request: what to evaluate on, and how; the baseline runs in float32 whatever the precision.
        resume: take up the results that an interrupted run of the same evaluation left.
        progress: called with what is being done, and how many of how many are done.
        tell: called with a line for the user, and its kind.

    Raises:
        CheckpointError: the tree is no model that can be built, or answers with numbers that are not finite.
        DataError: the task's files are missing, or do not fit the model.
        UsageError: unknown names, a gate without its baseline, one of no sense, one that a guess would decide, or one
            on a task that something else judges; a smaller precision on a CPU.
    """
    _check_limits(limits, baseline is not None)
    check_precision(request.precision)
    if request.precision != "float32":  # JAX takes its time to start
        refuse_useless(request.precision, start_devices(request.device))
    judged = () if limits.assume else limits.judged
    if judged:
        refuse_guesses(checkpoint, foreseen(checkpoint, request), judged)
    for gate in limits.judged:
        expect(find(request.task), GATES[gate], f"⟦{gate}⟧")
    session = Session(resume, tell or (lambda line, kind: None))

    def prepare() -> tuple[Split, Checkpoint, Checkpoint | None]:
        data = load_split(checkpoint, request, progress)
        models = follow_task(checkpoint, data), _baseline(baseline, request, checkpoint, data)
        for model in models if judged else ():
            if model:
                refuse_guesses(model, guesses_on(model, request.task, data), judged)
        return data, *models

    def found(model: Checkpoint, what: str, precision: str = "float32") -> Measured:
        return measure(model, data, replace(request, precision=precision), what, progress, session)

    data, checkpoint, other = processes.together(prepare)
    with resumable(session.how_to_go_on):
        measured = found(checkpoint, "evaluate", request.precision)
        exact = measured if request.precision == "float32" else found(checkpoint, "float32")
        comparison = compare(other.source.path, measured, found(other, "baseline")) if other else None
    session.clear()
    return EvalReport(
        checkpoint=checkpoint.source,
        task=described(request, data),
        measured=measured,
        assumed=checkpoint.assumed((*checkpoint.layer_options, *network_of(checkpoint).options)),
        baseline=comparison,
        gates=_gates(measured, comparison, limits),
        doubts=[*_warnings(checkpoint, other, request.task, data), *chance(checkpoint, measured)],
        notes=[*checkpoint.source.notes, data.note],
        precision=Precision() if exact is measured else precision_loss(request.precision, measured, exact),
        said=data.said,
    )


def trained_on(checkpoint: Checkpoint | str | Path, task: str | None = None) -> tuple[Checkpoint, str]:
    """The checkpoint itself, and the task that is named, else the one that it was trained on.

    Raises:
        CheckpointError: none is at that path.
        UsageError: no task is there.
    """
    checkpoint = opened(checkpoint)
    if name := task or checkpoint.task_name:
        return checkpoint, name
    said = checkpoint.task.get("name")
    trained = f"was trained on {said!r}, which is no task here" if said else "does not say on which it was trained"
    raise UsageError(
        f"no ⟦task⟧ is given, and {checkpoint.source.path} {trained}",
        "`last list tasks` has their names; your own sequences: ⟦task FILE.npz⟧, a text: ⟦task FILE.txt⟧",
    )


def guesses_on(checkpoint: Checkpoint, task: str, data: Split) -> list[Guess]:
    """What is guessed of a checkpoint that answers these sequences, and of the sequences that it was trained on."""
    found = guesses(checkpoint, padded=data.lengths is not None)
    return [*found, *task_guesses(checkpoint, task, data.source, data.length)]


def foreseen(checkpoint: Checkpoint, request: Request) -> list[Guess]:
    """What will be guessed where anything of the network is: all of it, which one sequence of the split tells.

    Where none can be read that is an error of its own, and later.
    """
    found = guesses(checkpoint)
    if not found:
        return []
    try:
        data = load_split(checkpoint, replace(request, limit=1))
        return guesses_on(follow_task(checkpoint, data), request.task, data)
    except (CheckpointError, DataError, UsageError):
        return found


def warnings_on(checkpoint: Checkpoint, task: str, data: Split) -> list[str]:
    """Warnings for a report: what was said of the configuration and not used, and every guess."""
    return [*checkpoint.index.warnings, *told(checkpoint, guesses_on(checkpoint, task, data))]


def chance(checkpoint: Checkpoint, measured: Measured) -> list[str]:
    """A warning where the accuracy is no better than chance: one in so many classes, and two standard errors."""
    classes = model_spec(checkpoint).d_output
    if measured.metric != ACCURACY or classes < 2 or measured.value > 1 / classes + 2 * measured.stderr:
        return []
    return [
        f"accuracy {measured.value:.1%} is no better than chance (1 in {classes} classes, {1 / classes:.1%}): "
        "is the configuration that of the training, and the task?"
    ]


def load_split(checkpoint: Checkpoint, request: Request, progress: Progress | None = None) -> Split:
    """The split that is asked for, with the settings that the checkpoint was trained with.

    Raises:
        UsageError: an option that the task does not have.
    """
    task = find(request.task)
    for name in request.settings:
        if name not in task.options:
            raise UsageError(
                f"⟦{name}⟧ cuts the sequences of a language model, and task {task.name} has sequences of its own",
                f"leave out ⟦{name}⟧, or evaluate on a text: ⟦task FILE.txt⟧",
            )
    return task.load(
        request.split,
        data_dir=request.data_dir,
        settings=checkpoint.task_settings(request.task) | request.settings,
        limit=request.limit,
        progress=progress,
        model=checkpoint.index.location.directory,
    )


def described(request: Request, data: Split) -> dict[str, Any]:
    """The `task` object of the JSON results."""
    version = find(request.task).version
    said = {
        "name": request.task,
        "version": version,
        "split": split_of(request.task, request.split),
        "source": data.source,
    }
    limit = {} if request.limit is None else {"limit": request.limit}
    return said | limit | {"length": data.length}


def follow_task(checkpoint: Checkpoint, data: Split) -> Checkpoint:
    """The checkpoint with `padded` as the task has it, where nothing else decides.

    Raises:
        CheckpointError: the tree is no model that can be built.
        DataError: the split does not fit the model.
    """
    _check_fit(checkpoint, data)
    return follow_padding(checkpoint, data.lengths is not None)


def _warnings(checkpoint: Checkpoint, other: Checkpoint | None, task: str, data: Split) -> list[str]:
    """Those of the checkpoint, and those of its baseline that it does not share."""
    own = warnings_on(checkpoint, task, data)
    theirs = warnings_on(other, task, data) if other else []
    if other and data.said.get("digests", {}).get("tokenizer"):
        missing = tokenizer_digest(other.index.location.directory) is None
        theirs += [f"{other.source.path} has no tokenizer, and is taken to have the one of the model"] * missing
    return [*own, *(f"baseline: {line}" for line in theirs if line not in own)]


def _check_limits(limits: Limits, with_baseline: bool) -> None:
    for gate in ("max_drop", "max_increase"):
        if getattr(limits, gate) is not None and not with_baseline:
            raise UsageError(f"⟦{gate}⟧ compares with a baseline, and none is given", "add ⟦baseline CKPT⟧")
    if limits.strict and limits.max_drop is None:
        raise UsageError("⟦strict⟧ goes with ⟦max_drop⟧, and that is not given", "add ⟦max_drop 0.5⟧, or leave it out")
    if limits.max_perplexity is not None and not limits.max_perplexity >= 1:
        raise UsageError(
            f"⟦max_perplexity⟧ is {limits.max_perplexity:g}, expected at least 1, which is certainty", "it is by token"
        )
    if limits.max_increase is not None and not math.isfinite(limits.max_increase):
        raise UsageError(
            f"⟦max_increase⟧ is {limits.max_increase:g}, expected a share", "for example ⟦max_increase 0.02⟧"
        )
    if limits.min_accuracy is not None and not 0 <= limits.min_accuracy <= 1:
        raise UsageError(
            f"⟦min_accuracy⟧ is {100 * limits.min_accuracy:g} %, expected 0 to 100 %",
            "⟨0.6 and 60 both mean|0.6 means⟩ 60 percent",
        )


def _baseline(
    baseline: Checkpoint | str | Path | None, request: Request, checkpoint: Checkpoint, data: Split
) -> Checkpoint | None:
    if baseline is None:
        return None
    other = baseline if isinstance(baseline, Checkpoint) else load(baseline)
    return baseline_on(other, request, checkpoint, data)


def baseline_on(other: Checkpoint, request: Request, checkpoint: Checkpoint, data: Split) -> Checkpoint:
    """Another checkpoint as it answers the sequences of this one.

    Raises:
        UsageError: it was trained on other settings of the task, or reads other tokens.
    """
    task = request.task
    settings = checkpoint.task_settings(task)
    if other.task_settings(task) not in ({}, settings) and settings:
        raise UsageError(
            f"{other.source.path} was trained on another {task} task than {checkpoint.source.path}",
            "a baseline is compared on the same sequences: take the checkpoint that this one was made from",
        )
    other = follow_task(other, data)
    if data.asks == "tokens":
        _check_tokens(other, request, checkpoint, data)
    return other


def _check_tokens(other: Checkpoint, request: Request, checkpoint: Checkpoint, data: Split) -> None:
    """Raises UsageError where a token of the baseline is not one of the model: their losses are of other things."""
    ours, theirs = data.said["digests"]["tokenizer"], tokenizer_digest(other.index.location.directory)
    if ours is None:
        sizes = [model_spec(model).d_input for model in (checkpoint, other)]
        differs = sizes[0] != sizes[1]
        seen = f"a vocabulary of {sizes[1]:,} tokens, and {checkpoint.source.path} one of {sizes[0]:,}"
    else:
        # Files may differ, and say the same: what counts is what they make of this text.
        same = theirs in (None, ours)
        differs = not same and load_split(other, request).said["digests"]["tokens"] != data.said["digests"]["tokens"]
        seen = f"another tokenizer than {checkpoint.source.path}, and makes other tokens of this text"
    if differs:
        raise UsageError(
            f"⟦baseline {other.source.path}⟧ has {seen}: losses by token do not compare",
            "evaluate each alone on the same text, and compare their bits per byte",
        )


def _check_fit(checkpoint: Checkpoint, data: Split) -> None:
    path = checkpoint.source.path
    _check_answers(checkpoint, data)
    spec: Spec = model_spec(checkpoint)
    if data.documents != spec.documents:
        takes = "one sequence" if spec.documents == 1 else "two sequences"
        raise DataError(
            f"{path}: the model takes {takes} a sample but the task has {data.documents}",
            "the checkpoint was trained on something else: choose its ⟦task⟧",
        )
    if data.tokens:
        width = data.width or len(data.vocabulary or ()) or 1 + max(int(block.max()) for block in blocks(data.x))
    else:
        width = data.x.shape[2]
    if (width > spec.d_input) if data.tokens else (width != spec.d_input):
        kind = "tokens in its vocabulary" if data.tokens else "features per step"
        raise DataError(
            f"{path}: the encoder takes {counted(spec.d_input, 'input')} but the task has {width} {kind}",
            "the checkpoint was trained on something else: choose its ⟦task⟧",
        )
    # A user's arrays need not have a sample of every class.
    few = (data.classes <= spec.d_output) if data.source == "arrays" else (data.classes == spec.d_output)
    if data.asks == "classes" and not few:
        raise DataError(
            f"{path}: the decoder has {spec.d_output} classes but the task has {data.classes}",
            "the checkpoint was trained on something else: choose its ⟦task⟧",
        )


def _check_answers(checkpoint: Checkpoint, data: Split) -> None:
    """Raises DataError where the task asks for classes and the model answers with tokens, or the other way."""
    if (answers := network_of(checkpoint).answers) == data.asks:
        return
    is_language = answers == "tokens"
    raise DataError(
        f"{checkpoint.source.path}: the model is a {'language model' if is_language else 'classifier'}, but the task "
        f"asks for {'classes' if is_language else 'the next token'}",
        "evaluate it on a text, ⟦task FILE.txt⟧, or on tokens without y, ⟦task FILE.npz⟧"
        if is_language
        else "name a task of classes: `last list tasks`, or ⟦task FILE.npz⟧ of x and y",
    )


def _gates(measured: Measured, comparison: Comparison | Increase | None, limits: Limits) -> list[Gate]:
    values = {"min_accuracy": measured.value, "max_perplexity": measured.value}
    if isinstance(comparison, Increase):
        values["max_increase"] = comparison.increase
    elif comparison is not None:
        values["max_drop"] = 100 * (comparison.drop_upper if limits.strict else comparison.drop)
    gates = []
    for name in limits.judged:
        limit, value = getattr(limits, name), values[name]
        passed = value >= limit if name.startswith("min_") else value <= limit + 1e-9
        gates.append(Gate(name, limit, value, bool(passed), strict=name == "max_drop" and limits.strict))
    return gates
