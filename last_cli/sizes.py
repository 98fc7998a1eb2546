"""How much is in a checkpoint's leaves."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from last_cli.checkpoint import Leaf


def count(leaves: Sequence[Leaf]) -> int:
    """Numbers in these leaves."""
    return sum(int(np.prod(leaf.shape)) for leaf in leaves)


def size(leaves: Sequence[Leaf]) -> int:
    """Bytes of these leaves' numbers."""
    return sum(
        int(np.prod(leaf.shape)) * np.dtype(getattr(ml_dtypes, leaf.dtype, leaf.dtype)).itemsize for leaf in leaves
    )
