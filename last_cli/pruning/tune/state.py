"""Where a tuning is, as arrays: kept on disk while it runs, so that a run that was cut off goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from last_cli.base import cache
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, variables_digest
from last_cli.evaluation.inputs import Inputs
from last_cli.pruning.tune.plan import Length
from last_cli.results.tune import TunePoint

SECONDS = 5.0
NAME, FORM = "tuning", 1  # raise it when what is kept, or what a step does, changes

Key = Mapping[str, Any]
Arrays = Sequence[np.ndarray]


@dataclass
class State:
    """A tuning between two chunks of steps.

    Attributes:
        numbers: what is trained, one array after the other.
        moments: of the optimizer.
        best: the numbers with the smallest held-out error.
        points: the held-out errors so far.
        planned: steps at most.
        best_step: after which these were there.
        done: steps that were made.
        waited: looks at the held-out sequences since one that was better, or since the steps became smaller.
        scale: a factor on the rates.
        seconds: that the steps took.
        resumed: of these steps, those of an earlier run.
    """

    numbers: Arrays
    moments: Arrays
    best: Arrays
    points: list[TunePoint]
    planned: int
    best_step: int = 0
    done: int = 0
    waited: int = 0
    scale: float = 1.0
    seconds: float = 0.0
    resumed: int = 0
    saved: float = field(default_factory=time.monotonic)

    @property
    def best_error(self) -> float:
        """The held-out error of the best numbers."""
        return next(point.error for point in self.points if point.step == self.best_step)


def key_of(student: Checkpoint, teacher: Checkpoint, inputs: Inputs, length: Length) -> Key:
    """What the steps depend on: both networks, the sequences, and how long is tuned."""
    return {
        "last": __version__,
        "form": FORM,
        "networks": [[variables_digest(one), repr(model_spec(one)), one.said] for one in (student, teacher)],
        "inputs": inputs.digest,
        "length": vars(length),
    }


def load(key: Key, start: State) -> State | None:
    """What an interrupted run left; None where there is nothing that fits what it would start from."""
    found = cache.stored(NAME, key)
    if found is None or not {"counts", "points", "seconds"} <= set(found):
        return None
    parts = {}
    for name in ("numbers", "moments", "best"):
        own: Arrays = getattr(start, name)
        arrays = [found.get(f"{name}-{i}") for i in range(len(own))]
        if any(a is None or (a.shape, a.dtype) != (b.shape, b.dtype) for a, b in zip(arrays, own, strict=True)):
            return None
        parts[name] = arrays
    planned, best_step, done, waited = found["counts"].tolist()
    seconds, scale = found["seconds"].tolist()
    points = [TunePoint(int(step), error, same) for step, error, same in found["points"].tolist()]
    return State(
        **parts,
        points=points,
        planned=planned,
        best_step=best_step,
        done=done,
        waited=waited,
        scale=scale,
        seconds=seconds,
        resumed=done,
    )


def keep(key: Key, state: State) -> None:
    """Write it down, every few seconds."""
    if time.monotonic() - state.saved < SECONDS:
        return
    parts = {"numbers": state.numbers, "moments": state.moments, "best": state.best}
    arrays = {f"{name}-{i}": np.asarray(array) for name, own in parts.items() for i, array in enumerate(own)}
    arrays |= {
        "counts": np.array([state.planned, state.best_step, state.done, state.waited]),
        "points": np.array([[point.step, point.error, point.agreement] for point in state.points], np.float64),
        "seconds": np.array([state.seconds, state.scale]),
    }
    cache.store(NAME, key, arrays)
    state.saved = time.monotonic()


def how_to_go_on(key: Key, resume: bool) -> str | None:
    """What to do after an interrupt; None where nothing was kept yet."""
    path = cache.entry(NAME, key)
    if path is None or not path.exists():
        return None
    return f"progress saved; rerun {'the same command' if resume else 'with ⟦resume⟧'} to continue"


def clear(key: Key) -> None:
    """All is done: nothing is left to take up."""
    if path := cache.entry(NAME, key):
        path.unlink(missing_ok=True)
