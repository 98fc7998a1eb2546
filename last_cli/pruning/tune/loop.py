"""The steps of a tuning, chunk by chunk, with a look at the held-out sequences now and then."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from last_cli.base.annotations import Bool, Float
from last_cli.base.errors import resumable, spelled
from last_cli.base.progress import Progress, Tell
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.evaluation.measure import refuse_broken
from last_cli.evaluation.resume import NOTHING_LEFT
from last_cli.formats import Key
from last_cli.pruning.tune import plan
from last_cli.pruning.tune import state as keeping
from last_cli.pruning.tune.leaves import trained
from last_cli.pruning.tune.plan import Length
from last_cli.pruning.tune.state import State
from last_cli.pruning.tune.train import CHUNK, Batches, Numbers, Program, answers_of, lengths_of
from last_cli.results.tune import TunePoint

HELD_OUT, MOST_HELD_OUT = 8, 1000
"""One in so many sequences is held out, and no more than these."""
EVERY, PATIENCE = 200, 2
"""Steps from one look at the held-out sequences to the next, and looks in a row without a smaller error, after which
the steps go on from the best numbers so far, and are smaller."""
SMALLER, SMALLEST = 1 / 3, 1 / 100
"""By how much, and a share of the first rates that is not worth a step."""
SHARE = 0.9
"""Of the minutes, what steps are planned for: looks take the rest."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a tuning came to.

    Attributes:
        names: of the trained leaves of all layers.
        changed: the trained leaves where the held-out error was smallest, by key; empty where that was at the start.
        state: at the end.
        held_out: sequences that no step has read.
        warnings: why it ended before its time, where something was wrong.
    """

    names: Sequence[str]
    changed: Mapping[Key, np.ndarray]
    state: State
    held_out: int
    warnings: Sequence[str]


@dataclass(frozen=True, eq=False)
class Tuning:
    """A tuning made ready.

    Attributes:
        program: its compiled steps.
        length: how long it is.
        read, held: the sequences that steps read, and those that they do not.
        wanted, expected: what the teacher answers to these.
    """

    program: Program
    length: Length
    read: Inputs
    held: Inputs
    wanted: Float[np.ndarray, "n classes"]
    expected: Float[np.ndarray, "m classes"]


def ready(
    student: Checkpoint, teacher: Checkpoint, inputs: Inputs, length: Length, progress: Progress | None = None
) -> Tuning:
    """A tuning of the student towards what the teacher answers, with sequences held out evenly.

    Raises:
        CheckpointError: the teacher's answers are not finite.
    """
    wanted, n = answers_of(teacher, inputs, "teacher", progress), len(inputs.x)
    held = np.arange(n) % min(n, max(HELD_OUT, -(-n // MOST_HELD_OUT))) == 0
    program = Program(student, [trained(student, layer, inputs.length) for layer in student.layers])
    return Tuning(
        program, length, _part(inputs, ~held), _part(inputs, held), wanted[~held].astype(np.float32), wanted[held]
    )


def run(
    tuning: Tuning,
    key: keeping.Key,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Found:
    """All steps, from where an interrupted run stopped if that is to be taken up; what goes wrong ends them.

    Raises:
        CheckpointError: the answers of what is to be tuned are not finite.
    """
    state = _taken_up(key, _start(tuning), resume, tell)
    with resumable(lambda: keeping.how_to_go_on(key, resume)):
        warnings = _steps(tuning, state, key, progress)
    keeping.clear(key)
    names = sorted({name for t in tuning.program.layers for name in t.keys})
    changed = _written(tuning.program, state.best) if state.best_step else {}
    return Found(names, changed, state, len(tuning.held.x), warnings)


def _start(tuning: Tuning) -> State:
    program = tuning.program
    found = program.answers(program.start, tuning.held)
    refuse_broken(program.checkpoint, int((~np.isfinite(found).all(axis=1)).sum()), len(found), "to be tuned")
    numbers = _flat(program.start)
    points = [_point(tuning, 0, found)]
    return State(numbers, _flat(program.moments(program.start)), numbers, points, tuning.length.steps or plan.STEPS)


def _taken_up(key: keeping.Key, start: State, resume: bool, tell: Tell | None) -> State:
    left, said = keeping.load(key, start), tell or (lambda line, kind: None)
    if resume:
        steps = f"resuming: {left.done:,} of {left.planned:,} steps are done" if left else NOTHING_LEFT
        said(steps, "")
        return left or start
    if left is not None:
        said(spelled(f"an interrupted run left {left.done:,} steps; ⟦resume⟧ continues it"), "hint")
    return start


def _steps(tuning: Tuning, state: State, key: keeping.Key, progress: Progress | None) -> list[str]:
    """Steps until all are done, time is over, or no size of step makes the held-out error smaller; returns warnings."""
    program, minutes = tuning.program, tuning.length.minutes
    numbers = _like(program.start, state.numbers)
    moments = _like(program.moments(program.start), state.moments)
    while state.done < state.planned and not _is_over(state, minutes):
        began = time.monotonic()
        numbers, moments, error = program.steps(numbers, moments, _batches(tuning, state))
        taken = time.monotonic() - began
        if not np.isfinite(error):
            return [f"after {state.done:,} steps the numbers were no longer finite: what was best before is taken"]
        first, state.done = state.done, min(state.done + CHUNK, state.planned)
        if state.done % EVERY == 0 or state.done == state.planned:
            _look(tuning, state, numbers)
        if state.waited >= PATIENCE:
            numbers, moments = _like(program.start, state.best), program.moments(program.start)
            state.scale, state.waited = SMALLER * state.scale, 0
        state.numbers, state.moments = _flat(numbers), _flat(moments)
        state.seconds += time.monotonic() - began
        if minutes is not None and first > state.resumed:  # the first chunk is compiled as well
            left = SHARE * 60 * minutes - state.seconds
            state.planned = state.done + CHUNK * max(int(left / max(taken, 1e-9)), 0)
        keeping.keep(key, state)
        if progress:
            progress("tune", state.done, state.planned)
    if state.points[-1].step != state.done:
        _look(tuning, state, numbers)
    return []


def _is_over(state: State, minutes: float | None) -> bool:
    late = minutes is not None and state.seconds >= 60 * minutes
    return late or state.scale < SMALLEST


def _batches(tuning: Tuning, state: State) -> Batches:
    """What the next chunk reads; behind the last step it goes on, at a rate of 0."""
    index = plan.order(state.done, CHUNK, len(tuning.read.x), tuning.length.seed)
    rates = np.float32(state.scale) * plan.rates(state.done, CHUNK, state.planned)
    return Batches(tuning.read.x[index], lengths_of(tuning.read)[index], tuning.wanted[index], rates)


def _look(tuning: Tuning, state: State, numbers: Numbers) -> None:
    """One more point; numbers count as they are written down, and only where all poles are stable."""
    stored, flat = _written(tuning.program, _flat(numbers)), _flat(numbers)
    rounded = {
        t.layer.name: {name: stored[key].astype(np.float32) for name, key in t.keys.items()}
        for t in tuning.program.layers
    }
    found = tuning.program.answers(rounded, tuning.held)
    state.waited += 1
    if not np.isfinite(found).all():
        return
    state.points.append(_point(tuning, state.done, found))
    if state.points[-1].error < state.best_error and _is_stable(tuning.program, stored):
        state.best, state.best_step, state.waited = flat, state.done, 0


def _point(tuning: Tuning, step: int, found: Float[np.ndarray, "m classes"]) -> TunePoint:
    share = np.exp(tuning.expected)
    error = (share * (tuning.expected - found)).sum(axis=1).mean()
    same = (found.argmax(axis=1) == tuning.expected.argmax(axis=1)).mean()
    return TunePoint(step, float(max(error, 0.0)), float(same))


def _is_stable(program: Program, stored: Mapping[Key, np.ndarray]) -> bool:
    """Whether no pole that is stored is at or beyond the unit circle, unless it was there before."""
    changed = ChainMap(dict(stored), dict(program.checkpoint.changed))
    new = replace(program.checkpoint, changed=changed)
    return all((~t.live | (np.abs(new.system(t.layer).lam) < 1) | (t.limits >= 1)).all() for t in program.layers)


def _written(program: Program, numbers: Sequence[np.ndarray]) -> dict[Key, np.ndarray]:
    """The trained leaves with these numbers, by key, as the checkpoint stores them."""
    own = _like(program.start, numbers)
    return {
        key: t.written(name, np.asarray(own[t.layer.name][name]))
        for t in program.layers
        for name, key in t.keys.items()
    }


def _part(inputs: Inputs, which: Bool[np.ndarray, " n"]) -> Inputs:
    lengths = None if inputs.lengths is None else inputs.lengths[which]
    return replace(inputs, x=inputs.x[which], lengths=lengths)


def _flat(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def _like(tree: Any, leaves: Sequence[np.ndarray]) -> Any:
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)
