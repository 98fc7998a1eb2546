"""The largest ratio within a budget: of lost accuracy on validation data, or of changed logits on unlabelled inputs.

A ratio grows in steps of 1 %, or of one state where a model has fewer than 100. Tens of per cent are measured from
below, until two in a row break the budget; then the gap above the largest one within it is halved down to one step.
What is lost grows with the ratio in trend only, so a larger ratio that was not measured may also stay within the
budget; one that was not measured is never taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base import registry
from last_cli.base.annotations import Float
from last_cli.base.errors import AnswerIsNo, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.display.search import in_words
from last_cli.evaluation.evaluate import Request, load_split, start_devices
from last_cli.evaluation.inputs import Asked
from last_cli.evaluation.judge import judge, selection_request
from last_cli.pruning import prune as reducing
from last_cli.pruning.recipe import Recipe, recipe
from last_cli.results.search import Budget, Search, SearchPoint
from last_cli.results.source import Progress

STEPS, COARSE, PATIENCE = 100, 10, 2
USUAL_COUNT = 13
USUAL_BUDGET = {
    "max_drop": "⟦max_drop 0.5⟧ allows half a percentage point",
    "max_error": "⟦max_error 0.004⟧ allows a relative squared error of 0.4 %",
}


def prune(
    checkpoint: Checkpoint,
    ratio: float | None = None,
    criterion: str = "last",
    *,
    max_drop: float | None = None,
    max_error: float | None = None,
    strict: bool = False,
    **options: Any,
) -> Checkpoint:
    """The checkpoint with `ratio` of its states removed, or as many as a budget allows; `save` writes it.

    Exactly one of ratio, max_drop and max_error is given. All measured versions keep the original's shapes, so that
    they share one compiled program, and a method that measures the states does so once. The result's `report.search`
    and its stamp list what was measured.

    Args:
        max_drop: percentage points of accuracy that may be lost on the validation split of `task` (by default the one
            that the checkpoint was trained on). Never measured on a test split.
        max_error: relative squared error of the centred logits, |l' - l|^2 / |l|^2 summed over the sequences of
            `calibration_file`, or of `calibration` and `task`, without labels; without any, of sequences made without
            data. Where C is refitted on such sequences, it is measured on others, if there are any left.
        strict: one standard error counts against a ratio.
        options: all else, as in `reducing.prune`; with a budget, `task` alone does not calibrate, `calibration` does.

    Raises:
        AnswerIsNo: not even the smallest ratio stays within the budget.
        CheckpointError, DataError, UsageError: as in `reducing.prune`, and for a task without validation data.
    """
    given = [value is not None for value in (ratio, max_drop, max_error)]
    if sum(given) != 1:
        raise UsageError(
            f"{'several' if any(given) else 'none'} of ⟦ratio⟧, ⟦max_drop⟧ and ⟦max_error⟧ are given, expected one",
            "⟦ratio 0.33⟧ removes a third; ⟦max_drop 0.5⟧ as much as costs half a percentage point on validation data",
        )
    if ratio is not None:
        if strict:
            raise UsageError("⟦strict⟧ goes with ⟦max_drop⟧ or ⟦max_error⟧", "leave it out")
        return reducing.prune(checkpoint, ratio, criterion, **options)
    kind, budget = ("max_drop", max_drop) if max_drop is not None else ("max_error", max_error)
    assert budget is not None
    if not budget >= 0:
        raise UsageError(f"⟦{kind}⟧ is {budget:g}, expected 0 or more", USUAL_BUDGET[kind])
    return _within(checkpoint, criterion, kind, budget, strict, **options)  # pyright: ignore[reportArgumentType]


def largest(within: Callable[[int], bool], steps: int) -> int:
    """The largest number found in 1 .. steps - 1 for which `within` holds, 0 where none was found; see the module."""
    low, high, failed = 0, steps, 0
    for number in sorted({round(steps * k / COARSE) for k in range(1, COARSE)} - {0, steps}):
        if within(number):
            low, high, failed = number, steps, 0
            continue
        high, failed = min(high, number), failed + 1
        if failed == PATIENCE:
            break
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class _Loss:
    """What a pruned checkpoint loses, with its standard error, and what that is measured on."""

    of: Callable[[Checkpoint], tuple[float, float]]
    measured_on: Mapping[str, Any]


def _within(
    checkpoint: Checkpoint,
    criterion: str,
    kind: Budget,
    budget: float,
    strict: bool,
    *,
    method: reducing.Method = "criterion",
    refit: bool = False,
    calibration: int | None = None,
    task: str | None = None,
    calibration_file: str | Path | None = None,
    data_dir: str | Path | None = None,
    masked: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Checkpoint:
    named_method = criterion in registry.METHODS and method in ("criterion", criterion) and not refit
    used = recipe(criterion) if named_method else Recipe(criterion, method, refit)
    request = selection_request(checkpoint, task, data_dir) if kind == "max_drop" else None
    asked = Asked(calibration, task, calibration_file, data_dir)
    if request and not used.needs_plan:
        reducing.refuse_sequences(replace(asked, task=None, data_dir=None), method, criterion)
    plan = None
    if used.needs_plan:
        of_task = calibration is not None and calibration_file is None
        to_fit = asked if of_task else replace(asked, task=None, data_dir=None)
        plan = reducing.plan_for(checkpoint, to_fit, network=used.runs_network, seed=seed, progress=progress)
    fitted = plan.inputs if plan else {}
    if request:
        loss = _drops(checkpoint, request, fitted, progress)
    else:
        loss = _errors(checkpoint, fitted, asked, seed, progress)
    at = used.at_any_ratio(checkpoint, plan, seed=seed, **options)
    steps = min(STEPS, sum(int(checkpoint.system(layer).live_mask.sum()) for layer in checkpoint.layers))
    allowed = budget / 100 if kind == "max_drop" else budget
    points: list[SearchPoint] = []

    def within(step: int) -> bool:
        lost, stderr = loss.of(at(step / steps, masked=True, compare=False))
        points.append(SearchPoint(step / steps, lost, stderr, lost + strict * stderr <= allowed + 1e-12))
        if progress:
            progress("search", len(points), max(USUAL_COUNT, len(points)))
        return points[-1].within

    found = largest(within, steps)
    search = Search(kind, budget, strict, loss.measured_on, 1 / steps, points, found / steps)
    if not found:
        raise _refusal(search)
    return _recorded(at(search.chosen, masked=masked), search)


def _drops(checkpoint: Checkpoint, request: Request, fitted: Mapping[str, Any], progress: Progress | None) -> _Loss:
    """Lost accuracy; where C was refitted on inputs of the same split, that is said."""
    judged = judge(checkpoint, load_split(checkpoint, request, progress), request, progress)

    def drop(small: Checkpoint) -> tuple[float, float]:
        found = judged.compare(judged.measure(small))
        return found.drop, found.drop_stderr

    said: dict[str, Any] = {"task": request.task, "split": request.split, "sequences": len(judged.data.y)}
    if all(fitted.get(name) == said[name] for name in ("task", "split")):
        said["also_calibrated_on"] = fitted["sequences"]
    return _Loss(drop, said)


def _errors(
    checkpoint: Checkpoint, fitted: Mapping[str, Any], asked: Asked, seed: int, progress: Progress | None
) -> _Loss:
    """Relative squared error of the logits, on other sequences than the `fitted` ones where there are any."""
    from last_cli.pruning.calibration.measure import logits

    start_devices(None)
    inputs = reducing.inputs_for(checkpoint, asked, seed=seed, skip=fitted.get("sequences", 0), progress=progress)
    if inputs is None:
        raise UsageError(
            "⟦max_error⟧ needs inputs, and nothing says on sequences of which length the checkpoint was trained",
            "add ⟦calibration_file FILE.npz⟧, or ⟦calibration 256⟧ ⟦task T⟧",
        )
    before = logits(checkpoint, inputs)
    return _Loss(lambda small: _relative_error(logits(small, inputs), before), dict(inputs.source))


def _relative_error(
    after: Float[np.ndarray, "n classes"], before: Float[np.ndarray, "n classes"]
) -> tuple[float, float]:
    """sum |after - before|^2 / sum |before|^2, and the standard error of that ratio of means (delta method)."""
    change, size = np.square(after - before).sum(axis=1), np.square(before).sum(axis=1)
    ratio = float(change.sum() / size.sum()) if size.any() else float(change.any())
    if len(size) < 2 or not size.any():
        return ratio, 0.0
    return ratio, float((change - ratio * size).std(ddof=1) / np.sqrt(len(size)) / size.mean())


def _refusal(search: Search) -> AnswerIsNo:
    """The error that says that no measured ratio stays within the budget."""
    least = search.by_ratio[0]
    unit = " points" if search.kind == "max_drop" else ""
    return AnswerIsNo(
        f"no ratio stays within the budget of {search.budget:g}{unit}: at ratio {least.ratio:g}, the smallest one, "
        f"{in_words(search, least)}; nothing was written",
        "a larger budget, or ⟦method reconstruct⟧ where it was not used, may allow one",
    )


def _recorded(small: Checkpoint, search: Search) -> Checkpoint:
    """The result with the search in its report and in its stamp."""
    assert small.report is not None
    *before, last = small.stamp["pruned"]
    stamp = {**small.stamp, "pruned": [*before, {**last, "search": search.as_json()}]}
    return replace(small, stamp=stamp, report=replace(small.report, search=search))
