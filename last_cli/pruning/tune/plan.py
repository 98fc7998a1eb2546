"""How long is tuned, how fast, and in which order the sequences are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.errors import UsageError

TUNE = "tune"
"""What a link of a stamp's chain is called."""
STEPS, SEQUENCES = 4000, 8000
BATCH = 16
RATES = 5e-3, 1e-2
"""Of poles and steps, and of B and C; chosen, like BATCH, on a one-directional S5 that no table is measured on."""
WARMUP = 0.05


@dataclass(frozen=True)
class Length:
    """How long is tuned.

    Attributes:
        steps: at most; by default STEPS.
        minutes: or as many as fit into these.
        seed: of the sequences that are drawn, and of their order.

    Raises:
        UsageError: both are given, or one makes no sense.
    """

    steps: int | None = None
    minutes: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise UsageError("⟦steps⟧ and ⟦minutes⟧ are both given", "say how long is tuned by one of them")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"⟦steps⟧ is {self.steps}, expected 1 or more", f"the default is {STEPS}")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(f"⟦minutes⟧ is {self.minutes:g}, expected more than 0", "⟦minutes 1⟧ is a minute")
        if self.seed < 0:
            raise UsageError(f"⟨seed⟩ is {self.seed}, expected 0 or more", "any other number will do")


def rates(first: int, count: int, planned: int) -> Float[np.ndarray, "count 2"]:
    """Learning rates of these of the planned steps, 0 behind the last: a short rise, then half a cosine down to 0."""
    steps = np.arange(first, first + count)
    rise = np.minimum(1, (steps + 1) / max(WARMUP * planned, 1))
    fall = np.where(steps < planned, 0.5 + 0.5 * np.cos(np.pi * np.minimum(steps / planned, 1)), 0)
    return ((rise * fall)[:, None] * RATES).astype(np.float32)


def order(first: int, count: int, sequences: int, seed: int) -> Int[np.ndarray, "count batch"]:
    """Which sequences these steps read: every epoch in another order, the same for the same seed."""
    batch = min(BATCH, sequences)
    per_epoch = sequences // batch
    epochs = range(first // per_epoch, (first + count - 1) // per_epoch + 1)
    found = [np.random.default_rng([seed, epoch]).permutation(sequences)[: per_epoch * batch] for epoch in epochs]
    start = first - epochs[0] * per_epoch
    return np.concatenate(found).reshape(-1, batch)[start : start + count]
