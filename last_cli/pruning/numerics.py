"""What is said where numbers have no solution: an eigenvalue that does not converge, a matrix that is singular."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from last_cli.base.errors import CheckpointError


@contextmanager
def solvable(what: str) -> Iterator[None]:
    """Within the block, or the function that it decorates, numpy's errors are in words.

    Raises:
        CheckpointError: `what` cannot be computed.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            yield
    except np.linalg.LinAlgError as error:
        raise CheckpointError(
            f"{what} cannot be computed from these numbers ({str(error)[:1].lower()}{str(error)[1:]}): they are too "
            "large or too small for double precision, or damaged",
            "prune it by a criterion, or look at `last score`",
        ) from error
