"""How much is in a checkpoint's leaves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from last_cli.formats import Leaf, dtype_of


def count(leaves: Sequence[Leaf]) -> int:
    """Numbers in these leaves."""
    return sum(math.prod(leaf.shape) for leaf in leaves)


def size(leaves: Sequence[Leaf]) -> int:
    """Bytes of these leaves' numbers."""
    kinds = Counter((leaf.shape, leaf.dtype) for leaf in leaves)
    return sum(times * math.prod(shape) * dtype_of(dtype).itemsize for (shape, dtype), times in kinds.items())
