"""The largest ratio within a budget: of lost accuracy, of perplexity on a text, or of changed logits.

A ratio grows in steps of 1 %, or of one state where a model has fewer than 100. Fifths are measured from below, until
one breaks the budget, or two in a row where estimates are judged; then the gap above the largest one within it is
halved down to one step. What is lost grows with the ratio in trend only, so a larger ratio that was not measured may
also stay within the budget; one that was not measured is never taken.

Of lost accuracy, and of the perplexity's increase, an upper limit must fit, at the chosen ratio and at every smaller
one that was measured: the largest of many estimates that happen to fit has been lucky, and loses more on others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from last_cli.base import registry
from last_cli.base.annotations import Float
from last_cli.base.errors import AnswerIsNo, CheckpointError, DataError, UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.guess import Guess, guesses, refuse_guesses, told
from last_cli.checkpoint.network import network_of
from last_cli.display.search import in_words
from last_cli.evaluation.devices import start_devices
from last_cli.evaluation.evaluate import chance, follow_task, foreseen, guesses_on, load_split
from last_cli.evaluation.inputs import Inputs, answers_tokens
from last_cli.evaluation.judge import judge, selection_request
from last_cli.evaluation.measure import Request
from last_cli.evaluation.metrics import least_sequences, upper_limit
from last_cli.pruning.calibration.observe import Observation, observe, refuse_sequences
from last_cli.pruning.calibration.request import Calibration, Draw
from last_cli.pruning.method import Method, Plan, Pruned
from last_cli.pruning.recipe import WEIGHTS, Recipe
from last_cli.pruning.units import units_of
from last_cli.results.evaluation import Comparison
from last_cli.results.search import Limited, Rule, Search, SearchPoint
from last_cli.tasks.find import split_of
from last_cli.tasks.task import Split

STEPS, COARSE, PATIENCE = 100, 5, 2
USUAL_COUNT, FEWEST_WINDOWS = 9, 5
USUAL_BUDGET = {
    "max_drop": "⟦max_drop 0.5⟧ allows half a percentage point",
    "max_increase": "⟦max_increase 0.02⟧ allows the perplexity to grow by 2 %",
    "max_error": "⟦max_error 0.004⟧ allows a relative squared error of 0.4 %",
}


class Lost(NamedTuple):
    """What a pruned checkpoint loses: a fraction, its standard error and, of what is judged so, its upper limit."""

    value: float
    stderr: float
    upper: float | None = None


@dataclass(frozen=True)
class Budget:
    """What a pruning may lose.

    Attributes:
        kind: "max_drop", percentage points of accuracy on the validation split of a task, never on a test split;
            "max_increase", the share by which the perplexity of a text grows; or "max_error", the relative squared
            error of the centred logits, |l' - l|^2 / |l|^2 summed over sequences.
        limit: how much of it.
        strict: one standard error of the logits' error counts against a ratio; of the others an upper limit counts.
        estimate: of lost accuracy, and of the perplexity's increase, the estimate counts alone.
        assume: search even where a guess decides the answers.

    Raises:
        UsageError: a limit below 0, or rules that do not go together.
    """

    kind: Limited
    limit: float
    strict: bool = False
    estimate: bool = False
    assume: bool = False

    def __post_init__(self) -> None:
        if not self.limit >= 0:
            raise UsageError(f"⟦{self.kind}⟧ is {self.limit:g}, expected 0 or more", USUAL_BUDGET[self.kind])
        if self.estimate and (self.strict or not self.judged_on_data):
            other = "⟦strict⟧" if self.strict else f"⟦{self.kind}⟧"
            raise UsageError(
                f"⟦estimate⟧ and {other} are both given",
                "⟦estimate⟧ goes with ⟦max_drop⟧ and ⟦max_increase⟧, of which else an upper limit must fit",
            )

    @property
    def judged_on_data(self) -> bool:
        """Whether it limits what a task is judged by, and not the change of the logits."""
        return self.kind != "max_error"

    @property
    def rule(self) -> Rule:
        """What of a measured loss must fit."""
        if self.judged_on_data:
            return "estimate" if self.estimate else "upper limit"
        return "estimate + standard error" if self.strict else "estimate"

    @property
    def allowed(self) -> float:
        """The limit in the unit of what is measured: of lost accuracy a fraction."""
        return self.limit / 100 if self.kind == "max_drop" else self.limit

    def judged(self, ratio: float, lost: Lost) -> SearchPoint:
        """A measured ratio, and whether it stays within the budget."""
        counts = lost.value + lost.stderr if self.rule == "estimate + standard error" else lost.value
        counts = lost.upper if self.rule == "upper limit" and lost.upper is not None else counts
        return SearchPoint(ratio, *lost, counts <= self.allowed + 1e-12, self.kind)


def prune_within(
    checkpoint: Checkpoint,
    budget: Budget,
    recipe: Recipe = Recipe(),
    calibration: Calibration = Calibration(),
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with as many of its units removed as the budget allows; `save` writes it.

    All measured versions keep the original's shapes, so that they share one compiled program. The result's
    `report.search` and its stamp list what was measured.

    Args:
        checkpoint: what is pruned.
        budget: what it may lose.
        recipe: how it is pruned, all but the ratio.
        progress: called with what is being done, and how many of how many are done.
        calibration: its task is that of "max_drop", by default the one that the checkpoint was trained on; it
            calibrates only where a number of sequences is given. For "max_increase" that is a text, by default the
            file. For "max_error" the sequences of the task or file, or some made without data: others than C is
            refitted on, if there are any left.

    Raises:
        AnswerIsNo: not even the smallest ratio stays within the budget.
        CheckpointError, DataError, UsageError: as in `prune`, and for a task without validation data, or where a guess
            decides the answers.
    """
    recipe = recipe.on(checkpoint.layers)
    if recipe.pattern is not None:
        raise UsageError(
            f"⟦{budget.kind}⟧ searches a ratio, and ⟦pattern {recipe.pattern}⟧ says it", "leave out one of them"
        )
    request = _request(checkpoint, budget, calibration)
    if not budget.assume:
        refuse_guesses(checkpoint, _foreseen(checkpoint, request, calibration), [budget.kind])
    unlabelled = replace(calibration, task=None, data_dir=None)
    observation: Observation | None = None
    of_task = calibration.calibration is not None and calibration.calibration_file is None
    asked = calibration if of_task else unlabelled
    if recipe.takes_inputs(bool(asked.options)):
        observation = observe(checkpoint, recipe, asked, progress)
    elif request and str(calibration.calibration_file) != request.task:
        refuse_sequences(unlabelled, recipe, checkpoint.layers)
    fitted = observation.source if observation else {}
    data = load_split(checkpoint, request, progress) if request else None
    inputs = None if request else _unlabelled(checkpoint, fitted, calibration, recipe.seed, progress)
    if request and data:
        _refuse_few(budget, len(data.y))
        found = guesses_on(follow_task(checkpoint, data), request.task, data)
    else:
        assert inputs is not None
        found = [*guesses(checkpoint, padded=inputs.lengths is not None), *inputs.guesses]
    found = list({guess.name: guess for guess in (*(observation.guesses if observation else ()), *found)}.values())
    if not budget.assume:
        refuse_guesses(checkpoint, found, [budget.kind])
    method: Method = registry.get("methods", recipe.method)
    plan = method.prepare(checkpoint, recipe, observation, progress)
    if request and data:
        loss = _losses(checkpoint, data, request, fitted, progress)
    else:
        assert inputs is not None
        loss = _errors(checkpoint, inputs)
    chosen = _search(budget, units_of(checkpoint, recipe), plan, loss, progress)
    if not chosen.chosen:
        raise _refusal(chosen, recipe)
    return _recorded(plan.at(chosen.chosen), chosen, [*told(checkpoint, found), *loss.warnings])


def _foreseen(checkpoint: Checkpoint, request: Request | None, calibration: Calibration) -> list[Guess]:
    """What will be guessed, before the work and all at once; see `evaluate.foreseen`."""
    if request or calibration.task:
        return foreseen(checkpoint, request or Request(str(calibration.task), "train"))
    found = guesses(checkpoint)
    if not found or calibration.calibration_file is None:
        return found
    try:
        inputs = calibration.read(checkpoint, Draw())
    except (CheckpointError, DataError, UsageError):
        return found
    return guesses(checkpoint, padded=inputs is not None and inputs.lengths is not None)


def largest(within: Callable[[int], bool], steps: int, patience: int = PATIENCE) -> int:
    """The largest number found in 1 .. steps - 1 for which `within` holds, 0 where none was found; see the module.

    With a patience of 1 it holds for every smaller number that was measured, too.
    """
    low, high, failed = 0, steps, 0
    for number in sorted({round(steps * k / COARSE) for k in range(1, COARSE)} - {0, steps}):
        if within(number):
            low, high, failed = number, steps, 0
            continue
        high, failed = min(high, number), failed + 1
        if failed == patience:
            break
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class _Loss:
    """What a pruned checkpoint loses, what that is measured on, and reasons to doubt it."""

    of: Callable[[Checkpoint], Lost]
    measured_on: Mapping[str, Any]
    warnings: Sequence[str] = ()


def _search(budget: Budget, units: int, plan: Plan, loss: _Loss, progress: Progress | None) -> Search:
    """The largest ratio within the budget, of so many live units."""
    steps = min(STEPS, units)
    points: list[SearchPoint] = []
    # Ratios may keep as many, of numbers that are rounded: one pruning, measured once and called by the least of them.
    known: dict[tuple[int, ...], Lost] = {}
    kept_at: dict[int, tuple[int, ...]] = {}

    def within(step: int) -> bool:
        small = plan.at(step / steps, draft=True)
        kept = kept_at[step] = tuple(layer.after for layer in small.report.layers)
        if kept not in known:
            known[kept] = loss.of(small.checkpoint)
        points.append(budget.judged(step / steps, known[kept]))
        if progress:
            progress("search", len(points), max(USUAL_COUNT, len(points)))
        return points[-1].within

    found = largest(within, steps, 1 if budget.rule == "upper limit" else PATIENCE)
    found = min((step for step, kept in kept_at.items() if found and kept == kept_at[found]), default=0)
    return Search(budget.kind, budget.limit, budget.rule, loss.measured_on, 1 / steps, points, found / steps)


def _request(checkpoint: Checkpoint, budget: Budget, calibration: Calibration) -> Request | None:
    """What the loss is measured on; None where it is the change of the logits."""
    if not budget.judged_on_data:
        return None
    task = calibration.task
    if budget.kind == "max_increase" and task is None and calibration.calibration_file is not None:
        task = str(calibration.calibration_file)
    return selection_request(checkpoint, task, calibration.data_dir, budget.kind)


def _refuse_few(budget: Budget, sequences: int) -> None:
    """Raises AnswerIsNo where an unchanged network would not pass either, on so few sequences."""
    if budget.kind == "max_increase" and budget.rule == "upper limit" and sequences < FEWEST_WINDOWS:
        raise AnswerIsNo(
            f"⟦max_increase {budget.limit:g}⟧ cannot be shown on {sequences} windows of text, expected at least "
            f"{FEWEST_WINDOWS}; nothing was written",
            "take a longer text, or cut it into shorter rows of ⟦task FILE.npz⟧; or judge estimates: ⟦estimate⟧",
        )
    if budget.kind != "max_drop" or budget.rule != "upper limit":
        return
    if upper_limit(0, 0, sequences) <= budget.allowed + 1e-12:
        return
    least = least_sequences(budget.allowed)
    raise AnswerIsNo(
        f"⟦max_drop {budget.limit:g}⟧ cannot be shown on {sequences:,} sequences: even equal answers leave an upper "
        f"limit of {100 * upper_limit(0, 0, sequences):.2f} points, expected at least "
        f"{f'{least:,.0f} sequences' if np.isfinite(least) else 'a budget above 0'}; nothing was written",
        "take a larger budget or more validation data, or judge estimates: ⟦estimate⟧",
    )


def _losses(
    checkpoint: Checkpoint, data: Split, request: Request, fitted: Mapping[str, Any], progress: Progress | None
) -> _Loss:
    """Lost accuracy, or by how much the perplexity grew; where something was fitted to the same data, that is said."""
    judged = judge(checkpoint, data, request, progress)

    def lost(small: Checkpoint) -> Lost:
        found = judged.compare(judged.answers(small))
        if isinstance(found, Comparison):
            return Lost(found.drop, found.drop_stderr, found.drop_upper)
        return Lost(found.increase, found.increase_stderr, found.increase_upper)

    said: dict[str, Any] = {"task": request.task, "split": split_of(request.task, request.split)}
    said["sequences"] = len(judged.data.y)
    same = all(fitted.get(name) == said[name] for name in ("task", "split"))
    if same or fitted.get("file") == request.task:
        said["also_calibrated_on"] = fitted["sequences"]
    return _Loss(lost, said, chance(checkpoint, judged.base))


def _unlabelled(
    checkpoint: Checkpoint, fitted: Mapping[str, Any], calibration: Calibration, seed: int, progress: Progress | None
) -> Inputs:
    """Sequences to compare logits on: others than the `fitted` ones where there are any."""
    inputs = calibration.inputs(checkpoint, Draw(seed, skip=fitted.get("sequences", 0)), progress)
    if inputs is None and answers_tokens(checkpoint):
        raise UsageError(
            "⟦max_error⟧ needs text for a language model, and none is given",
            "add ⟦calibration_file corpus.txt⟧, or ⟦calibration_file FILE.npz⟧ of tokens x (n, length)",
        )
    if inputs is None:
        raise UsageError(
            "⟦max_error⟧ needs inputs, and nothing says on sequences of which length the checkpoint was trained",
            "add ⟦calibration_file FILE.npz⟧, or ⟦calibration 256⟧⟨ |, ⟩⟦task T⟧",
        )
    return inputs


def _errors(checkpoint: Checkpoint, inputs: Inputs) -> _Loss:
    """Relative squared error of the logits."""
    start_devices(None)
    if network_of(checkpoint).change is not None:
        from last_cli.pruning.calibration.quantities import changes

        return _Loss(lambda small: Lost(*_ratio(*changes(checkpoint, small, inputs).T)), dict(inputs.source))
    from last_cli.pruning.calibration.measurements import logits

    before = logits(checkpoint, inputs)
    return _Loss(lambda small: Lost(*_relative_error(logits(small, inputs), before)), dict(inputs.source))


def _relative_error(
    after: Float[np.ndarray, "n classes"], before: Float[np.ndarray, "n classes"]
) -> tuple[float, float]:
    """That of these logits, see `_ratio`."""
    return _ratio(np.square(after - before).sum(axis=1), np.square(before).sum(axis=1))


def _ratio(change: Float[np.ndarray, " n"], size: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """sum |after - before|^2 / sum |before|^2, and the standard error of that ratio of means (delta method)."""
    ratio = float(change.sum() / size.sum()) if size.any() else float(change.any())
    if len(size) < 2 or not size.any():
        return ratio, 0.0
    return ratio, float((change - ratio * size).std(ddof=1) / np.sqrt(len(size)) / size.mean())


def _refusal(search: Search, recipe: Recipe) -> AnswerIsNo:
    """The error that says that no measured ratio stays within the budget."""
    if not search.points:
        return AnswerIsNo(
            "one unit is all that there is, and no ratio removes a part of it; nothing was written",
            "another checkpoint may have more to remove",
        )
    least = search.points[0]
    better = "sparsegpt" if recipe.target == WEIGHTS else "reconstruct"
    able = recipe.method != better and recipe.target in registry.get("methods", better).targets
    other = f", or ⟦method {better}⟧," if able else ""
    unit = {"max_drop": " points", "max_increase": " of the perplexity"}.get(search.kind, "")
    return AnswerIsNo(
        f"no ratio stays within the budget of {search.budget:g}{unit}: at ratio {least.ratio:g}, the smallest one, "
        f"{in_words(search, least)}; nothing was written",
        f"a larger budget{other} may allow one",
    )


def _recorded(found: Pruned, search: Search, warnings: Sequence[str]) -> Checkpoint:
    """The result with the search in its report and in its stamp."""
    *before, last = found.checkpoint.stamp["pruned"]
    stamp = {**found.checkpoint.stamp, "pruned": [*before, {**last, "search": search.as_json()}]}
    report = replace(found.report, search=search, warnings=[*found.report.warnings, *warnings])
    return replace(found.checkpoint, stamp=stamp, report=report)
