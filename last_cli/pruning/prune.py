"""Pruning by any recipe: the one place where a method is chosen, given what it needs, and asked for a ratio."""

from __future__ import annotations

from dataclasses import replace

from last_cli.base import registry
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.calibration.observe import Observation, observe, refuse_sequences
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.method import Method, Plan
from last_cli.pruning.recipe import BY_CRITERION, Recipe
from last_cli.pruning.score import check_measures
from last_cli.pruning.select import check_ratio


def prune(
    checkpoint: Checkpoint,
    ratio: float,
    recipe: Recipe = Recipe(),
    calibration: Calibration = Calibration(),
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with `ratio` of its units removed, and its report, in memory; `save` writes it.

    Raises:
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or, where the network must
            run, a tree that is no network.
        DataError: the calibration sequences cannot be read.
        UsageError: a ratio outside [0, 1), sequences for a recipe that takes none, or layers without what it removes.
    """
    check_ratio(ratio)
    recipe = recipe.on(checkpoint.layers)
    observation = _observation(checkpoint, recipe, calibration, progress)
    found = _plan(checkpoint, recipe, observation, progress).at(ratio)
    warnings = [*found.report.warnings, *(observation.warnings if observation else [])]
    return replace(found.checkpoint, report=replace(found.report, warnings=warnings))


def prepare(
    checkpoint: Checkpoint,
    recipe: Recipe = Recipe(),
    calibration: Calibration = Calibration(),
    progress: Progress | None = None,
) -> Plan:
    """All that the recipe's method measures, whatever the ratio; raises what `prune` does."""
    recipe = recipe.on(checkpoint.layers)
    return _plan(checkpoint, recipe, _observation(checkpoint, recipe, calibration, progress), progress)


def _observation(
    checkpoint: Checkpoint, recipe: Recipe, calibration: Calibration, progress: Progress | None
) -> Observation | None:
    if recipe.takes_inputs(bool(calibration.options)):
        return observe(checkpoint, recipe, calibration, progress)
    if calibration.options and recipe.method == BY_CRITERION:  # What scores nothing here takes nothing either.
        check_measures(checkpoint, recipe)
    refuse_sequences(calibration, recipe, checkpoint.layers)
    return None


def _plan(checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None) -> Plan:
    method: Method = registry.get("methods", recipe.method)
    return method.prepare(checkpoint, recipe, observation, progress)
