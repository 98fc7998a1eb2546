"""What PyTorch and torchvision computed, as `tests/data/pytorch/record.py` wrote it down."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
from cases import DATA


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """Inputs and outputs by name. Tests do not change them."""
    with np.load(DATA / "pytorch" / f"{name}.npz") as found:
        return dict(found)


@cache
def random_orders() -> dict[str, Any]:
    """`randperm`: n, seed, the first indices and the digest of all; `random_split`: seed and parts."""
    return json.loads((DATA / "pytorch" / "random.json").read_text())
