"""Pruning by any method: by a criterion alone, with C refitted after it, by `reconstruct` or by `balanced`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation import synthetic
from last_cli.evaluation.inputs import SEQUENCES, Asked, Inputs
from last_cli.pruning import by_criterion
from last_cli.pruning import select as selection
from last_cli.pruning.needs import Choice, Shape, needed
from last_cli.pruning.score import score_layers
from last_cli.results.source import Progress

if TYPE_CHECKING:
    from last_cli.pruning.reconstruct.plan import Plan

Method = Literal["criterion", "reconstruct", "balanced"]


def prune(
    checkpoint: Checkpoint,
    ratio: float,
    criterion: str = "last",
    *,
    method: Method = "criterion",
    refit: bool = False,
    calibration: int | None = None,
    task: str | None = None,
    calibration_file: str | Path | None = None,
    data_dir: str | Path | None = None,
    scope: selection.Scope = "global",
    min_states: int = 1,
    seed: int = 0,
    shape: Shape = "ragged",
    masked: bool = False,
    allow_unstable: bool = False,
    horizon: int | None = None,
    plan: Plan | None = None,
    compare: bool = True,
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with `ratio` of its states removed, in memory; `save` writes it.

    Args:
        method: "criterion" removes what scores lowest and keeps every other value bit-equal (see by_criterion.prune);
            "reconstruct" eliminates greedily and refits C (see reducers.reconstruct); "balanced" truncates the balanced
            system, with new poles (see reducers.balanced). As `criterion` the two mean the same.
        refit: refit C after the criterion's choice.
        calibration: sequences to measure the states on, without labels, of `task` (by default the one that the
            checkpoint was trained on) or of `calibration_file`; without any of the three, sequences made without
            data (see remembered), or, where the trained length is unknown, white inputs in closed form. The criterion
            `gn` takes the same sequences.
        horizon: steps that the criterion `energy` looks ahead; by default the trained length.
        plan: what `plan_for` prepared with the same arguments, so that several ratios share it.
        compare: compute what is guaranteed and what predicts of a refitted C or of new poles; it takes some seconds.

    Raises:
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or, where the network must
            run, a tree that is no classifier.
        DataError: the calibration sequences cannot be read.
        UsageError: arguments that do not go together, or a ratio outside [0, 1).
    """
    if criterion in registry.METHODS and method in ("criterion", criterion):
        method, criterion = criterion, "last"  # pyright: ignore[reportAssignmentType]
    asked = Asked(calibration, task, calibration_file, data_dir)
    runs = method == "reconstruct" or refit or (method == "criterion" and runs_network(criterion))
    if not runs:
        refuse_sequences(asked, method, criterion)
    if method == "criterion" and not refit:
        sequences, known = None, None
        if plan is None:
            sequences = asked.read(checkpoint, seed=seed, progress=progress)
        elif runs:
            choice = Choice(criterion, scope, min_states, seed, shape, allow_unstable, horizon)
            known = replace(needed(checkpoint, choice, gates=_gates(plan)), said={"calibration": dict(plan.inputs)})
        return by_criterion.prune(
            checkpoint,
            ratio,
            criterion,
            scope=scope,
            min_states=min_states,
            seed=seed,
            shape=shape,
            masked=masked,
            allow_unstable=allow_unstable,
            horizon=horizon,
            inputs=sequences,
            known=known,
            progress=progress,
        )
    if allow_unstable:
        what = "new poles" if method == "balanced" else "a refitted C"
        raise UsageError(f"⟦allow_unstable⟧ does not go with {what}", "leave one of them out")
    if method != "criterion" and (refit or criterion != "last" or horizon is not None):
        raise UsageError(
            f"⟦method {method}⟧ chooses and refits by itself",
            "leave out ⟦criterion⟧, ⟦horizon⟧ and ⟦refit⟧, or the method",
        )
    if method == "balanced":
        from last_cli.pruning.balanced import method as balanced

        return balanced.reduce(
            checkpoint,
            ratio,
            shape=shape,
            scope=scope,
            min_states=min_states,
            masked=masked,
            compare=compare,
            progress=progress,
        )
    from last_cli.pruning.reconstruct import method as reconstruct

    plan = plan or plan_for(checkpoint, asked, seed=seed, network=runs_network(criterion), progress=progress)
    if method == "reconstruct":
        return reconstruct.reduce(
            plan,
            ratio,
            shape=shape,
            scope=scope,
            min_states=min_states,
            masked=masked,
            compare=compare,
            progress=progress,
        )
    choice = Choice(criterion, scope, min_states, seed, shape, horizon=horizon)
    known = needed(checkpoint, choice, gates=_gates(plan))
    scored, _ = score_layers(checkpoint, choice, ratio, known)
    masks = {layer.name: layer.keep for layer in scored if layer.keep is not None}
    small = reconstruct.refit(
        plan, masks, ratio=ratio, choice=known.choice, masked=masked, compare=compare, progress=progress
    )
    assert small.report is not None
    assumed = {**small.report.assumed, **known.assumed}
    return replace(small, report=replace(small.report, assumed=assumed, needed=known.said))


def plan_for(
    checkpoint: Checkpoint,
    asked: Asked,
    *,
    seed: int = 0,
    network: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """What any ratio needs: the states measured on the sequences that `prune` would take.

    With `network`, sequences there must be; else white inputs do where the trained length is unknown.
    """
    from last_cli.pruning.reconstruct import method as reconstruct

    sequences = inputs_for(checkpoint, asked, seed=seed, progress=progress)
    if sequences is None and network:
        sequences = synthetic.sequences(checkpoint, SEQUENCES, seed=seed)  # says why there are none
    return reconstruct.prepare(checkpoint, sequences, seed=seed, progress=progress)


def inputs_for(
    checkpoint: Checkpoint, asked: Asked, *, seed: int = 0, skip: int = 0, progress: Progress | None = None
) -> Inputs | None:
    """What is asked for, else inputs made without data; None where not even the trained length is known.

    `skip` leaves out so many that are drawn first, where that leaves any.
    """
    found = asked.read(checkpoint, skip=skip, seed=seed, progress=progress)
    if found is not None:
        return found
    try:
        return synthetic.sequences(checkpoint, SEQUENCES, seed=seed + (skip > 0))
    except UsageError:
        return None


def refuse_sequences(asked: Asked, method: Method, criterion: str) -> None:
    """Raises UsageError where any sequences are named to what takes none."""
    if given := asked.options:
        taker = "method balanced" if method == "balanced" else f"criterion {criterion}"
        raise UsageError(
            f"{' and '.join(given)} name{'s' * (len(given) == 1)} sequences to measure on, but the {taker} takes none",
            "add ⟦method reconstruct⟧ or ⟦refit⟧, or take the criterion gn",
        )


def runs_network(criterion: str) -> bool:
    """Whether a criterion must see what the states do in the network."""
    return registry.get("criteria", criterion).needs == "gates"


def _gates(plan: Plan) -> dict[str, Any]:
    return {p.layer.name: p.gates for p in plan.layers}
