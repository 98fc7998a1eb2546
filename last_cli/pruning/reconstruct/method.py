"""Method `reconstruct`: greedy elimination of states, with the readout C of the others refitted in closed form.

Nothing is trained, and nothing but C changes in what is kept:

    plan = prepare(checkpoint, inputs.from_task(checkpoint, "listops", 256))
    small = reduce(plan, ratio=0.6)
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.family import take
from last_cli.families.find import Layer
from last_cli.families.lti.system import gain_bound
from last_cli.formats import Key
from last_cli.pruning import select as selection
from last_cli.pruning.by_criterion import compact, emptied, sliced_copies
from last_cli.pruning.error import difference
from last_cli.pruning.reconstruct.allocate import Allocation, allocate
from last_cli.pruning.reconstruct.correct import corrected
from last_cli.pruning.reconstruct.plan import LayerPlan, Plan, prepare
from last_cli.pruning.score import Choice, Shape
from last_cli.results.prune import LayerPrune
from last_cli.results.reduction import ReductionReport
from last_cli.results.score import LayerScore
from last_cli.results.source import Progress

__all__ = ["LayerPlan", "Plan", "prepare", "reduce", "refit"]


def reduce(
    plan: Plan,
    ratio: float,
    *,
    shape: Shape = "ragged",
    scope: selection.Scope = "global",
    min_states: int = 1,
    masked: bool = False,
    correct: bool = True,
    compare: bool = True,
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with `ratio` of its states removed and C refitted, in memory; `save` writes it.

    Args:
        shape: "rectangular" keeps the same number of states in every channel of an S4D layer, each channel its own.
        masked: keep every array's shape and set B and C of removed states to zero.
        correct: after the refit, take a step towards the whole network's logits, see `correction`.
        compare: compute what is guaranteed and what predicts, see `Difference`; it takes some seconds.

    Raises:
        UsageError: a ratio outside [0, 1), or min_states below 0.
    """
    choice = Choice("reconstruct", scope, min_states, int(plan.settings["seed"]), shape)
    if not 0 <= ratio < 1 or min_states < 0:
        raise UsageError(f"ratio is {ratio:g} and min-states {min_states}, expected 0 <= ratio < 1 and 0 or more")
    chosen = allocate(plan, ratio, shape, scope, min_states, progress)
    return _refitted(plan, chosen, ratio, choice, "reconstruct", masked, correct, compare, progress)


def refit(
    plan: Plan,
    masks: Mapping[str, np.ndarray],
    *,
    ratio: float,
    choice: Choice,
    masked: bool = False,
    compare: bool = True,
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with the states of `masks`, (G, N) by layer name, that some criterion chose, and C refitted.

    `choice` and `ratio` say how they were chosen, for stamp and report.
    """
    keep = [masks[p.layer.name] & p.problem.live for p in plan.layers]
    scores = [p.relative_error * p.gates for p in plan.layers]
    return _refitted(plan, Allocation("given", scores, keep), ratio, choice, "refit", masked, False, compare, progress)


def _refitted(
    plan: Plan,
    chosen: Allocation,
    ratio: float,
    choice: Choice,
    method: str,
    masked: bool,
    correct: bool,
    compare: bool,
    progress: Progress | None,
) -> Checkpoint:
    source, masks = plan.checkpoint, chosen.keep
    readouts = [p.readouts(mask) for p, mask in zip(plan.layers, masks, strict=True)]
    said = {**plan.settings, "allocation": chosen.name, "logit_errors": dict(chosen.errors)}
    if correct and ratio and (better := corrected(plan, masks, readouts, progress)):
        readouts = better.C
        said |= {"step_ridge": better.ridge, "held_out_logit_errors": dict(better.errors)}
    keep = {p.layer.name: mask for p, mask in zip(plan.layers, masks, strict=True)}
    settings = {
        "ratio": ratio,
        **choice.settings,
        "masked": masked,
        "method": method,
        "calibration": dict(plan.inputs),
        **said,
    }
    pruned = compact(source, keep, settings, masked=masked)
    changed: dict[Key, np.ndarray] = {}
    reports, differences = [], []
    rows = zip(plan.layers, plan.scored, masks, chosen.scores, readouts, strict=True)
    for p, scored, mask, score, C in rows:
        if not np.array_equal(C, p.system.C):
            changed |= _leaves(source, p.layer, C, None if masked else selection.indices(mask))
        reports.append(_layer_report(p, scored, mask, score, C, masked))
        if compare:
            differences.append(difference(p.system, C, p.moments))
            if progress:
                progress("compare", len(differences), len(masks))
    pruned = replace(pruned, changed=ChainMap(changed, pruned.changed))  # pyright: ignore[reportArgumentType]
    report = ReductionReport(
        checkpoint=source.source,
        family=source.family,
        criterion=choice.criterion,
        ratio=ratio,
        scope=choice.scope,
        shape=choice.shape,
        seed=choice.seed,
        assumed=source.assumed(source.layer_options),
        layers=reports,
        parameters=(source.parameters, pruned.parameters),
        bytes=(source.bytes, pruned.bytes),
        sliced_copies=sliced_copies(pruned),
        masked=masked,
        method=method,
        inputs=plan.inputs,
        settings=said,
        differences=differences,
        reused=plan.reused,
    )
    return replace(pruned, report=replace(report, warnings=[*plan.warnings, *emptied(report)]))


def _leaves(checkpoint: Checkpoint, layer: Layer, C: np.ndarray, index: np.ndarray | None) -> dict[Key, np.ndarray]:
    """The leaves that hold C, cut unless there is no index, in their own precision."""
    assert layer.family.with_readouts is not None
    arrays, found = checkpoint.arrays(layer), {}
    for name, array in layer.family.with_readouts(arrays, C).items():
        array = array.astype(arrays[name].dtype)
        if index is not None:
            array = take(array, layer.family.state_leaves[name], index, layer.shape.states)
        found[layer.leaves[name]] = array
    return found


def _layer_report(
    p: LayerPlan, scored: LayerScore, keep: np.ndarray, score: np.ndarray, C: np.ndarray, masked: bool
) -> LayerPrune:
    removed, values = p.problem.live & ~keep, score[keep & np.isfinite(score)]
    return LayerPrune(
        name=p.layer.name,
        before=scored.states,
        after=int(keep.sum()),
        stored=p.layer.shape.states if masked else selection.stored(keep),
        removed_hinf=float(scored.hinf[removed].sum()),
        gain_bound=gain_bound(replace(p.system, C=p.system.C - C), p.problem.live),
        smallest_kept_score=float(values.min()) if values.size else None,
    )
