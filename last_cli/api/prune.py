"""Which states matter, and the checkpoint without the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from last_cli.base.progress import Progress
    from last_cli.checkpoint.checkpoint import Checkpoint
    from last_cli.results.score import ScoreReport
    from last_cli.results.search import Limited


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
        checkpoint: an open one, or its path.
        criterion: how states are scored; `last list criteria` describes them.
        ratio: share of all states that would be removed, in [0, 1).
        layer: report only layers whose name, or its part, matches this glob; selection still ranks all of them.
        seed: of the criterion random, of what is drawn from the sequences, and of inputs made without data.
        allow_unstable: proceed despite unstable poles (|lam| >= 1).
        horizon: steps that the criterion `energy` looks ahead; by default the trained length.
        scope, min_states, shape, target, multiple_of: see `prune`.
        calibration: how many sequences, without labels, a criterion such as `gn` runs the network on; see `prune`.
        task, calibration_file, data_dir, length: whose, of which file, where the task's files are, and of how many
            steps where they are made without data; see `prune`.
        progress: False shows none; or what is called with what is being done, and how many of how many are done.

    Raises:
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or no network for `gn` to run.
        DataError: the calibration sequences cannot be read.
        UsageError: an unknown criterion, a ratio outside [0, 1), or a glob that matches nothing.
    """
    from last_cli.api.progress import shown
    from last_cli.checkpoint.checkpoint import opened
    from last_cli.pruning import score as scoring
    from last_cli.pruning.calibration.request import Calibration
    from last_cli.pruning.recipe import Recipe

    recipe = Recipe(
        criterion, scope=scope, min_states=min_states, seed=seed, shape=shape, horizon=horizon, target=target,
        multiple_of=multiple_of, allow_unstable=allow_unstable,
    )  # fmt: skip
    sequences = Calibration(calibration, task, calibration_file, data_dir, length)
    with shown(progress) as bar:
        return scoring.score(opened(checkpoint), recipe, ratio=ratio, layer=layer, calibration=sequences, progress=bar)


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

    Args:
        checkpoint: an open one, or its path; it stays as it is.
        ratio: share of all states to remove, in [0, 1). Exactly one of ratio and the three limits is given.
        criterion: how states are scored; "reconstruct" and "balanced" mean the method.
        max_drop: percentage points of accuracy that may be lost on the validation split of `task`, never on a test
            split; `task` alone does not calibrate then, `calibration` does.
        max_increase: share by which the perplexity of a text may grow: of `task`, else of `calibration_file`.
        max_error: relative squared error of the centred logits, sum |l' - l|^2 / sum |l|^2, without labels, on
            calibration sequences: others than C is refitted on, if there are any left.
        strict, estimate: of max_error one standard error more counts; of the others the estimate, not its upper limit.
        assume: keep to the budget even where a guess of the configuration decides what the network answers.
        method: "criterion" removes what scores lowest and keeps every other value bit-equal; "reconstruct" eliminates
            greedily and refits C; "balanced" truncates the balanced system, with new poles.
        refit: refit C after the criterion's choice.
        calibration: how many sequences, without labels, to measure the states on; where none of this, task and
            calibration_file is given, they are made without data (length unknown: white inputs in closed form).
        task, data_dir: whose, by default the one that the checkpoint was trained on, and where its files are.
        length: steps of sequences that are made without data, where nothing says how many the trained ones have.
        calibration_file: or a file of them: .npz of x and lengths; for language models also a text, .txt.
        scope: "global" ranks all layers together, "layer" each alone; by default what the target has.
        min_states: minimum states to keep per layer (0 allows none).
        seed: of the criterion random, of what is drawn from the sequences, and of inputs made without data.
        shape: S4D only: "rectangular", the default, keeps as many states in every channel of a layer, so that arrays
            shrink too; "ragged" lets channels differ and pads to the widest, as "last-reference" does unasked.
        masked, target: keep all shapes, and zero B and C; what is removed, by default states.
        tune: then train what stays towards the unpruned network's answers, on the file or training split; see `tune`.
        multiple_of: language models: round what every group keeps up to a multiple; by default 8, below 16 states 1.
        keep: instead of a ratio, exactly these units: a file, another checkpoint of `last`, or what its stamp holds.
        stock: language models: zeros up to the largest layer, for stock classes.
        pattern, modules: target weights: "2:4", which is the ratio; whose, of "in_proj,out_proj,mlp": else the first.
        allow_unstable, horizon: proceed despite unstable poles (|lam| >= 1); steps, of the criterion `energy`.
        drop: globs of what is left out because code makes it anew, such as caches and optimizer states: paths in the
            tree, parts of such, or other items of the step.
        progress: False shows none; or what is called with what is being done, and how many of how many are done.

    Returns:
        The smaller checkpoint. Its `report` says what was done, and with a budget what was measured.

    Raises:
        AnswerIsNo: not even the smallest ratio stays within the budget.
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or no network to run.
        DataError: the sequences cannot be read.
        UsageError: arguments that do not go together, a ratio outside [0, 1), a task without validation data, or a
            budget where a guess of the configuration decides what the network answers.
    """
    from last_cli.api.progress import shown
    from last_cli.checkpoint.checkpoint import opened
    from last_cli.checkpoint.drop import without
    from last_cli.pruning import budget, keep as kept, prune as pruning, recipe  # isort: skip
    from last_cli.pruning.calibration.request import Calibration
    from last_cli.pruning.sparse.pattern import implied

    rules = {"strict": strict, "estimate": estimate, "assume": assume}
    limits: dict[Limited, float | None]
    limits = {"max_drop": max_drop, "max_increase": max_increase, "max_error": max_error}
    said = implied(pattern, ratio, limits)
    extent = 0.0 if keep is not None else budget.ratio_or_budget(said, limits, **rules)
    how = recipe.recipe(
        criterion, method, scope=scope, min_states=min_states, seed=seed, shape=shape, refit=refit, masked=masked,
        horizon=horizon, target=target, multiple_of=multiple_of, stock=stock, pattern=pattern, modules=modules,
        allow_unstable=allow_unstable,
    )  # fmt: skip
    sequences = Calibration(calibration, task, calibration_file, data_dir, length)
    whole = without(opened(checkpoint), drop or ())

    def smaller(sequences: Calibration, bar: Progress | None) -> Checkpoint:
        if keep is not None:
            return kept.prune_kept(whole, keep, how, sequences, (ratio, *limits.values()))
        if isinstance(extent, budget.Budget):
            return budget.prune_within(whole, extent, how, sequences, bar)
        return pruning.prune(whole, extent, how, sequences, bar)

    with shown(progress) as bar:
        if not tune:
            return smaller(sequences, bar)
        from last_cli.pruning.tune.after import asked_by_pruning, tuned

        asked = asked_by_pruning(how, whole, sequences, extent.kind if isinstance(extent, budget.Budget) else None)
        return tuned(smaller(asked, bar), whole, sequences, seed, bar)
