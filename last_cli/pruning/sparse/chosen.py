"""What was chosen in one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Bool, Float


@dataclass(frozen=True, eq=False)
class Chosen:
    """Weights of a matrix that go, and what the others are then.

    Attributes:
        removed: which go.
        weight: the others' new values; None where they stay.
        least: the smallest score that stays.
    """

    removed: Bool[np.ndarray, "rows columns"]
    weight: Float[np.ndarray, "rows columns"] | None = None
    least: float | None = None
