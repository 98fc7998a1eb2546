"""Task `digits`: scikit-learn's 8x8 handwritten digits, read pixel by pixel as sequences of 64 steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from last_cli.base.errors import DataError, UsageError
from last_cli.tasks.task import Query, Split, Task, whole_number

TEST_SIZE, VAL_SIZE = 300, 200


def read(query: Query) -> Split:
    """300 test, 200 val and 1,297 train images, row by row, scaled to [0, 1], split by the setting `seed`.

    Raises:
        UsageError: a seed that makes no sense, or a `data_dir`: no file is read.
        DataError: scikit-learn, which bundles the images, is not installed.
    """
    if query.data_dir is not None:
        raise UsageError("task digits comes with scikit-learn and reads no data directory", "leave out ⟦data_dir⟧")
    seed = whole_number(query.settings, "seed", 0, minimum=0)
    images, labels = _bundled()
    # Sorting raw PCG64 output is a permutation that no version of NumPy will change.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    test, val, train = np.split(order, [TEST_SIZE, TEST_SIZE + VAL_SIZE])
    chosen = {"test": test, "val": val, "train": train}[query.split]
    return Split(
        x=(images[chosen] / 16).astype(np.float32).reshape(len(chosen), 64, 1),
        y=labels[chosen].astype(np.int32),
        lengths=None,
        source="bundled",
        classes=10,
        length=64,
        vocabulary=None,
        note=f"these are the digits bundled with scikit-learn, split by seed {seed}",
    )


DIGITS = Task(
    name="digits",
    version=1,
    summary="8x8 handwritten digits as 64 pixels in a row (scikit-learn), 10 classes; needs no download",
    read=read,
    between=(0.0, 1.0),
)


def _bundled() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) with values 0 to 16, and their labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("task digits needs scikit-learn, which is not installed", "pip install scikit-learn") from error
    bunch: Any = load_digits()
    return bunch.images, bunch.target
