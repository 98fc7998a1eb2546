"""Several checkpoints on the same sequences, each against the first one, and models over their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from last_cli.base.errors import UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.evaluation.evaluate import baseline_on, described, follow_task, load_split, trained_on, warnings_on
from last_cli.evaluation.measure import Request, measure
from last_cli.evaluation.metrics import compare as paired
from last_cli.evaluation.metrics import metric_of
from last_cli.results.compare import Compared, ComparedMean, CompareReport
from last_cli.results.evaluation import Measured
from last_cli.tasks.find import find


def several(
    checkpoints: Sequence[Checkpoint | str | Path], task: str | None, names: Sequence[str] | None
) -> tuple[list[Checkpoint], str]:
    """The checkpoints themselves, and the task that is named, else that of the first one.

    Raises:
        CheckpointError: none is at such a path.
        UsageError: there is nothing to compare, no task, or the names are not theirs.
    """
    if len(checkpoints) < 2:
        raise UsageError(
            f"{len(checkpoints)} checkpoints are given, expected two or more", "`last eval` measures a single one"
        )
    if names is not None and len(names) != len(checkpoints):
        raise UsageError(
            f"⟨names⟩ has {len(names)} entries for {len(checkpoints)} checkpoints", "give each checkpoint one name"
        )
    first, task = trained_on(checkpoints[0], task)
    return [first, *map(opened, checkpoints[1:])], task


def compare(
    checkpoints: Sequence[Checkpoint],
    request: Request,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> CompareReport:
    """Measure each on the sequences that the first one is given.

    Args:
        checkpoints: the first is the baseline.
        request: what to evaluate on, and where.
        names: what each is called; those of one name are seeds of one model.
        progress: called with what is being done, and how many of how many are done.

    Raises:
        CheckpointError: a tree is no model that can be built, or answers with numbers that are not finite.
        DataError: the task's files are missing, or do not fit the models.
        UsageError: others' tokens or task settings than the first one's.
    """
    first, *others = checkpoints
    data = load_split(first, request, progress)
    models = [follow_task(first, data), *(baseline_on(other, request, first, data) for other in others)]
    found = [measure(model, data, request, _name(model, i), progress) for i, model in enumerate(models)]
    called = [model.source.path for model in models] if names is None else names
    points = [_point(called[i], models[i], found[i], found[0], request) for i in range(len(models))]
    doubts = [line for model in models for line in warnings_on(model, request.task, data)]
    return CompareReport(
        checkpoint=first.source,
        task=described(request, data),
        metric=found[0].metric,
        n=found[0].n,
        device=found[0].device,
        points=points,
        means=[_mean([p for p in points if p.name == name]) for name in dict.fromkeys(called)],
        doubts=[*dict.fromkeys(doubts)],
        notes=[data.note],
    )


def _name(model: Checkpoint, place: int) -> str:
    """What it is called in the progress; two may lie in folders of one name."""
    return f"{place + 1}: {model.source.path}"


def _point(name: str, model: Checkpoint, measured: Measured, base: Measured, request: Request) -> Compared:
    pair = paired(model.source.path, measured, base)
    sign = -1 if metric_of(find(request.task)).higher_is_better else 1
    return Compared(
        name=name,
        path=model.source.path,
        digest=model.source.digest,
        states=sum(int(model.live(layer).sum()) for layer in model.layers),
        parameters=model.parameters,
        value=measured.value,
        stderr=measured.stderr,
        loss=measured.loss,
        difference=0.0 + sign * pair.worse,
        difference_stderr=pair.worse_stderr,
    )


def _mean(seeds: Sequence[Compared]) -> ComparedMean:
    def mean(key: str) -> float:
        return float(np.mean([getattr(seed, key) for seed in seeds]))

    def error(key: str, stderr: str) -> float:
        between = np.var([getattr(seed, key) for seed in seeds], ddof=1) / len(seeds) if len(seeds) > 1 else 0.0
        return float(np.sqrt(np.mean([getattr(seed, stderr) ** 2 for seed in seeds]) + between))

    return ComparedMean(
        name=seeds[0].name,
        seeds=len(seeds),
        states=mean("states"),
        parameters=mean("parameters"),
        value=mean("value"),
        stderr=error("value", "stderr"),
        difference=mean("difference"),
        difference_stderr=error("difference", "difference_stderr"),
    )
