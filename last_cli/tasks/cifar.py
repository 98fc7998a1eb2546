"""Tasks `image` (Long Range Arena) and `scifar`: CIFAR-10 in grey and in colour, pixel by pixel.

Preprocessing and splits are those of the S5 code (s5/dataloaders/basic.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.rows import Rows
from last_cli.tasks import cifar_files as files
from last_cli.tasks.folder import data_folder, find
from last_cli.tasks.images import to_grey, to_sequences
from last_cli.tasks.task import Progress, Split, Task, check_request, first
from last_cli.tasks.torch_random import training_part

VERSION = 1
GREY_MEAN, GREY_STD = (122.6 / 255.0,), (61.0 / 255.0,)
COLOUR_MEAN, COLOUR_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)


def load(
    task: str,
    prepare: Callable[[np.ndarray], np.ndarray],
    split: str = "test",
    *,
    data_dir: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Split:
    """The test batch, or nine tenths (train) and one tenth (val) of the five training batches.

    Nothing is cached: the batches are read faster than what a cache would hold.

    Raises:
        UsageError: an unknown split, or a limit that makes no sense.
        DataError: the files are missing or damaged.
    """
    check_request(task, split, limit)
    names = files.TEST if split == "test" else files.TRAIN
    folder = find(task, data_folder(task, data_dir, files.HINT), files.NESTED, names, files.HINT)
    batches = []
    for name in names:
        batches.append(files.read_batch(folder / name))
        if progress:
            progress(len(batches), len(names))
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if split != "test":
        chosen = training_part(split, len(labels))
        images, labels = images[chosen], labels[chosen]
    return first(
        Split(
            x=Rows.of(images, prepare, limit),
            y=labels[:limit].astype(np.int32),
            lengths=None,
            source="files",
            classes=files.CLASSES,
            length=files.SIDE**2,
            vocabulary=None,
            note=f"this split was read from {folder}",
        ),
        limit,
        of=len(labels),
    )


def _grey(images: np.ndarray) -> np.ndarray:
    return to_sequences(to_grey(images), GREY_MEAN, GREY_STD)


def _colour(images: np.ndarray) -> np.ndarray:
    return to_sequences(images, COLOUR_MEAN, COLOUR_STD)


IMAGE = Task(
    name="image",
    version=VERSION,
    summary="CIFAR-10 in grey as 1,024 pixels in a row (Long Range Arena), 10 classes; reads its python version",
    load=partial(load, "image", _grey),
)

SCIFAR = Task(
    name="scifar",
    version=VERSION,
    summary="CIFAR-10 in colour as 1,024 pixels in a row, 10 classes; reads its python version",
    load=partial(load, "scifar", _colour),
)
