"""Tuning right after a pruning, on the sequences that both are given."""

from __future__ import annotations

from dataclasses import replace

from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.tune.plan import Length
from last_cli.pruning.tune.sequences import Sequences
from last_cli.pruning.tune.tune import check_family, tune


def asked_by_pruning(recipe: Recipe, checkpoint: Checkpoint, given: Calibration, budget: str | None) -> Calibration:
    """What of the sequences the pruning takes itself: it would refuse those that are only there to tune on.

    Args:
        recipe: of the pruning.
        checkpoint: what is pruned.
        given: the sequences.
        budget: what limits the pruning, if anything: "max_drop" needs the task, "max_error" the inputs.

    Raises:
        UsageError: layers that cannot be tuned.
    """
    check_family(checkpoint)
    if budget == "max_error" or recipe.on(checkpoint.layers).takes_inputs(bool(given.options)):
        return given
    of_budget = Calibration(None, given.task, None, given.data_dir) if budget else Calibration()
    return replace(of_budget, length=given.length)


def tuned(small: Checkpoint, whole: Checkpoint, given: Calibration, seed: int, progress: Progress | None) -> Checkpoint:
    """What a pruning made of a checkpoint, tuned towards that, and in its report what tuning did."""
    file, report = given.calibration_file, small.report
    task, data_dir = (None, None) if file is not None else (given.task, given.data_dir)
    found = tune(small, whole, Sequences(task=task, file=file, data_dir=data_dir), Length(seed=seed), True, progress)
    assert report is not None and found.tuned is not None
    warnings = [line for line in found.tuned.warnings if line not in report.warnings]
    return replace(found, report=replace(report, tuned=found.tuned, warnings=[*report.warnings, *warnings]))
