"""Distillation without labels: what a pruned network keeps, trained towards the logits of the one that it was before.

    small = last.prune(ck, 0.8, method="reconstruct", calibration=256)
    better = tune(small, ck, Sequences(8000, "listops"), Length(steps=4000))

Only poles, steps, B and C of the kept states are trained. Of the sequences, one in HELD_OUT is held out: what is
written is where the error was smallest there, which may be where it began.
"""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.progress import Progress, Tell
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.checkpoint.guess import guesses, told
from last_cli.checkpoint.network import follow_padding, model_spec
from last_cli.checkpoint.trained import cleared, cleared_beside
from last_cli.evaluation.devices import start_devices
from last_cli.evaluation.inputs import check_fit
from last_cli.families.layer import Layer
from last_cli.formats import Key
from last_cli.pruning.listed import listed
from last_cli.pruning.tune.plan import TUNE, Length
from last_cli.pruning.tune.sequences import Sequences
from last_cli.results.tune import TuneReport

FEW = 1000
"""Sequences, of which fewer are soon learned by heart."""


def tune(
    checkpoint: Checkpoint | str | Path,
    teacher: Checkpoint | str | Path,
    sequences: Sequences = Sequences(),
    length: Length = Length(),
    resume: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Checkpoint:
    """The checkpoint with what it keeps trained towards the teacher's logits, and its report, in memory.

    Args:
        checkpoint: what is tuned; all but poles, steps, B and C stays bit-equal, but moments of these become zero.
        teacher: the network that it was pruned from.
        sequences: inputs, of which no labels are read.
        length: how long is tuned.
        resume: take up what an interrupted run of the same tuning left.
        progress: called with what is being done, and how many of how many are done.
        tell: called with a line for the user, and its kind.

    Raises:
        CheckpointError: one of the two is no network that can run, or answers with numbers that are not finite.
        DataError: the sequences cannot be read, or do not fit the network.
        UsageError: layers that are no Systems, two networks that do not belong together, a test split, or nothing that
            says which sequences.
    """
    checkpoint, teacher = opened(checkpoint), opened(teacher)
    _check(checkpoint, teacher)
    inputs = sequences.read(checkpoint, length.seed, progress)
    student, whole = (follow_padding(one, inputs.lengths is not None) for one in (checkpoint, teacher))
    for one in (student, whole):
        check_fit(inputs, model_spec(one))
    start_devices(sequences.device)
    from last_cli.pruning.tune import loop  # it needs JAX, which starts here
    from last_cli.pruning.tune.state import key_of

    began, n = time.monotonic(), len(inputs.x)
    key = key_of(student, whole, inputs, length)
    found = loop.run(
        loop.ready(student, whole, inputs, length, progress), key, resume=resume, progress=progress, tell=tell
    )
    guessed = told(checkpoint, [*guesses(checkpoint, padded=inputs.lengths is not None), *inputs.guesses])
    state = found.state
    report = TuneReport(
        checkpoint=checkpoint.source,
        teacher=teacher.source,
        inputs={**inputs.source, "digest": inputs.digest},
        sequences=n,
        held_out=found.held_out,
        steps=state.done,
        planned_steps=state.planned,
        best_step=state.best_step,
        points=state.points,
        resumed_steps=state.resumed,
        leaves=found.names,
        moments_cleared=0,
        seconds=time.monotonic() - began,
        assumed=checkpoint.assumed(checkpoint.layer_options),
        warnings=[*_warnings(checkpoint, teacher, n), *guessed, *found.warnings],
    )
    return _made(checkpoint, found.changed, report)


def _made(checkpoint: Checkpoint, changed: Mapping[Key, np.ndarray], report: TuneReport) -> Checkpoint:
    """The checkpoint with its new arrays, zeros for the moments of these, and one more link in its stamp's chain."""
    keys = {layer.leaves[name] for layer in checkpoint.layers for name in report.leaves if name in layer.leaves}
    own, also = cleared(keys, checkpoint.leaves), cleared_beside(keys, checkpoint.index, checkpoint.also)
    beside = sum(len(zeros.maps[0]) for zeros in also.values() if isinstance(zeros, ChainMap))
    report = replace(report, moments_cleared=len(own) + beside)
    return replace(
        checkpoint,
        changed=ChainMap({**changed, **own}, checkpoint.changed),  # pyright: ignore[reportArgumentType]
        also=also,
        stamp=checkpoint.chained(_step(checkpoint, report)),
        tuned=report,
    )


def _step(checkpoint: Checkpoint, report: TuneReport) -> dict[str, Any]:
    """The link: like a pruning that keeps all units, after which some leaves are other ones."""
    before: Sequence[Mapping[str, Any]] = checkpoint.stamp.get("pruned", [])
    last = before[-1] if before else {}
    target, source, teacher = last.get("target", "states"), report.checkpoint, report.teacher
    return {
        "last": __version__,
        "criterion": TUNE,
        "method": TUNE,
        "ratio": 0.0,
        "changes": [],
        "refitted": list(report.leaves),
        "masked": last.get("masked", False),
        **({} if target == "states" else {"target": target}),
        "source": {"path": source.path, "digest": source.digest, "step": source.step},
        "teacher": {"path": teacher.path, "digest": teacher.digest, "step": teacher.step},
        "inputs": dict(report.inputs),
        "steps": report.steps,
        "best_step": report.best_step,
        "error": report.error._asdict(),
        "layers": [_all(checkpoint, layer, target) for layer in checkpoint.layers],
    }


def _all(checkpoint: Checkpoint, layer: Layer, target: str) -> dict[str, Any]:
    """The entry of a layer that loses nothing; where no unit is live, one stands in for them already."""
    live = checkpoint.live(layer, target)
    standin = {} if live.any() else {"standin": 0}
    kept = listed(live, layer.target(target).flat)
    return {"name": layer.name, "before": layer.units[target].count, "kept": kept, **standin}


def check_family(checkpoint: Checkpoint) -> None:
    """Raises UsageError where a layer is none that is tuned."""
    for layer in checkpoint.layers:
        if layer.family.system is None:
            raise UsageError(
                f"{layer.name}: a layer of the family '{layer.family.name}' is no linear system, and those are tuned",
                "what language models put out is refitted in closed form: `last prune` with ⟦refit⟧",
            )


def _check(checkpoint: Checkpoint, teacher: Checkpoint) -> None:
    """Raises UsageError unless both are the same network, but for their numbers of states."""
    check_family(checkpoint)
    check_family(teacher)
    ours, theirs = (
        [(layer.name, layer.family.name, layer.sizes.features, layer.sizes.directions) for layer in one.layers]
        for one in (checkpoint, teacher)
    )
    where = f"{teacher.source.path} is no teacher of {checkpoint.source.path}"
    hint = "name the checkpoint that this one was pruned from"
    if ours != theirs:
        a, b = next(((a, b) for a, b in zip(ours, theirs, strict=False) if a != b), (len(ours), len(theirs)))
        raise UsageError(f"{where}: its layers are others: {b}, expected {a}", hint)
    specs = [model_spec(one) for one in (checkpoint, teacher)]
    for size in ("d_input", "d_output", "documents"):
        a, b = (getattr(spec, size) for spec in specs)
        if a != b:
            raise UsageError(f"{where}: its {size} is {b}, expected {a}", hint)
    for name, value in checkpoint.said.items():
        if name in teacher.said and teacher.said[name] != value:
            raise UsageError(f"{where}: its {name} is {teacher.said[name]}, expected {value}", hint)
    if not any(checkpoint.live(layer).any() for layer in checkpoint.layers):
        raise CheckpointError(f"{checkpoint.source.path}: no state is left, so nothing can be tuned", hint)


def _warnings(checkpoint: Checkpoint, teacher: Checkpoint, count: int) -> list[str]:
    chain = [step["source"]["digest"] for step in checkpoint.stamp.get("pruned", [])]
    other = f"{checkpoint.source.path} was not pruned from {teacher.source.path}, as far as its stamp says"
    few = f"{count:,} sequences are few, and soon learned by heart: some thousands do more"
    return [*([other] if teacher.digest not in chain else []), *([few] if count < FEW else [])]
