"""PyTorch's seeded permutations without PyTorch: the S5 code splits its data sets with them.

PyTorch draws from the Mersenne Twister MT19937, seeded as in the reference code, 32 bits at a time. NumPy's
`RandomState` is the same generator with the same seeding, and NumPy guarantees its stream for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from last_cli.base.annotations import Int64

VALIDATION_SHARE, SEED = 0.1, 42  # of the S5 code
# From here on, PyTorch takes 64 bits a step and another algorithm. No data set of ours is near.
TOO_LONG = (2**32 - 1) // 20


def randperm(n: int, seed: int) -> Int64[np.ndarray, " n"]:
    """`torch.randperm(n, generator=torch.Generator().manual_seed(seed))` on a CPU.

    Raises:
        ValueError: `n` is negative, or so large that PyTorch takes another algorithm.
    """
    if not 0 <= n < TOO_LONG:
        raise ValueError(f"n is {n}, expected 0 to {TOO_LONG - 1}")
    order = list(range(n))
    # PyTorch keeps the low 32 bits of a seed, and makes no draw for the last element.
    words = np.random.RandomState(seed & 0xFFFFFFFF).randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32)
    steps = words % np.arange(n, 1, -1, dtype=np.uint32)
    for i, step in enumerate(steps.tolist()):
        j = i + step
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.int64)


def random_split(lengths: Sequence[int], seed: int) -> list[Int64[np.ndarray, " _"]]:
    """The indices of `torch.utils.data.random_split(data, lengths, torch.Generator().manual_seed(seed))`."""
    order = randperm(sum(lengths), seed)
    return [order[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]


def training_part(split: str, n: int) -> Int64[np.ndarray, " _"]:
    """Which of `n` training samples the S5 code takes for "train", and which tenth for "val", in its order."""
    kept = int(n * (1.0 - VALIDATION_SHARE))
    train, val = random_split([kept, n - kept], SEED)
    return train if split == "train" else val
