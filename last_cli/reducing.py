"""Pruning by any method: by a criterion alone, with C refitted after it, or by `reconstruct`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from last_cli import pruning, selection
from last_cli.errors import UsageError
from last_cli.loading import Checkpoint
from last_cli.results import Progress
from last_cli.scoring import Choice, Shape, score_layers

Method = Literal["criterion", "reconstruct"]
SEQUENCES = 256


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
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with `ratio` of its states removed, in memory; `save` writes it.

    Args:
        method: "criterion" removes what scores lowest and keeps every other value bit-equal (see pruning.prune);
            "reconstruct" eliminates greedily and refits C (see reducers.reconstruct).
        refit: refit C after the criterion's choice.
        calibration: sequences to measure the states on, without labels, of `task` (by default the one that the
            checkpoint was trained on) or of `calibration_file`; without any of the three, random inputs of the trained
            length, or, where that is unknown, white inputs in closed form.

    Raises:
        CheckpointError: numbers that are not finite, or poles at or beyond the unit circle.
        DataError: the calibration sequences cannot be read.
        UsageError: arguments that do not go together, or a ratio outside [0, 1).
    """
    measured = (calibration, task, calibration_file, data_dir) != (None, None, None, None)
    if method == "criterion" and not refit:
        if measured:
            raise UsageError(
                "calibration sequences are given, but the criterion takes none", "add --method reconstruct or --refit"
            )
        return pruning.prune(
            checkpoint,
            ratio,
            criterion,
            scope=scope,
            min_states=min_states,
            seed=seed,
            shape=shape,
            masked=masked,
            allow_unstable=allow_unstable,
        )
    if masked or allow_unstable:
        raise UsageError(
            f"--{'masked' if masked else 'allow-unstable'} does not go with a refitted C", "leave one of them out"
        )
    if method == "reconstruct" and (refit or criterion != "last"):
        raise UsageError(
            "--method reconstruct chooses and refits by itself", "leave out --criterion and --refit, or the method"
        )
    from last_cli.reducers import reconstruct

    inputs = _inputs(checkpoint, calibration, task, calibration_file, data_dir, seed, progress)
    plan = reconstruct.prepare(checkpoint, inputs, seed=seed, progress=progress)
    if method == "reconstruct":
        return reconstruct.reduce(plan, ratio, shape=shape, scope=scope, min_states=min_states, progress=progress)
    choice = Choice(criterion, scope, min_states, seed, shape)
    scored, _ = score_layers(checkpoint, choice, ratio)
    masks = {layer.name: layer.keep for layer in scored if layer.keep is not None}
    return reconstruct.refit(plan, masks, ratio=ratio, choice=choice, progress=progress)


def _inputs(
    checkpoint: Checkpoint,
    count: int | None,
    task: str | None,
    file: str | Path | None,
    data_dir: str | Path | None,
    seed: int,
    progress: Progress | None,
) -> Any:
    from last_cli.reducers import inputs

    if file is not None:
        if task is not None or data_dir is not None:
            raise UsageError("--calibration-file and --task are both given", "take the sequences from one of them")
        return inputs.from_file(file, count, seed=seed)
    task = task or ((checkpoint.stamp.get("task") or {}).get("name") if count is not None else None)
    if task is not None:
        return inputs.from_task(
            checkpoint, task, SEQUENCES if count is None else count, data_dir=data_dir, seed=seed, progress=progress
        )
    if count is not None or data_dir is not None:
        raise UsageError("--calibration says how many sequences, but not of what", "add --task or --calibration-file")
    try:
        return inputs.random(checkpoint, SEQUENCES, seed=seed)
    except UsageError:
        return None  # the trained length is unknown: white inputs, and no network is run
