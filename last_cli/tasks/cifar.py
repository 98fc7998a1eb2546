"""Tasks `image` (Long Range Arena) and `scifar`: CIFAR-10 in grey and in colour, pixel by pixel.

Preprocessing and splits are those of the S5 code (s5/dataloaders/basic.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from last_cli.base.rows import Rows
from last_cli.tasks import cifar_files as files
from last_cli.tasks.folder import find_folder
from last_cli.tasks.images import to_grey, to_sequences
from last_cli.tasks.task import Query, Split, Task
from last_cli.tasks.torch_random import training_part

VERSION = 1
GREY_MEAN, GREY_STD = (122.6 / 255.0,), (61.0 / 255.0,)
COLOUR_MEAN, COLOUR_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)


def read(prepare: Callable[[np.ndarray], np.ndarray], query: Query) -> Split:
    """The test batch, or nine tenths (train) and one tenth (val) of the five training batches.

    Nothing is cached: the batches are read faster than what a cache would hold.

    Args:
        prepare: from images in bytes (n, 32, 32, 3) to sequences of pixels (n, 1024, d).
        query: what is asked for.

    Raises:
        DataError: the files are missing or damaged.
    """
    names = files.TEST if query.split == "test" else files.TRAIN
    folder = find_folder(query, files.NESTED, names, files.HINT)
    batches = []
    for name in names:
        batches.append(files.read_batch(folder / name))
        query.advance(len(batches), len(names))
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if query.split != "test":
        chosen = training_part(query.split, len(labels))
        images, labels = images[chosen], labels[chosen]
    return Split(
        x=Rows.of(images, prepare),
        y=labels.astype(np.int32),
        lengths=None,
        source="files",
        classes=files.CLASSES,
        length=files.SIDE**2,
        vocabulary=None,
        note=f"this split was read from {folder}",
    )


def _grey(images: np.ndarray) -> np.ndarray:
    return to_sequences(to_grey(images), GREY_MEAN, GREY_STD)


def _colour(images: np.ndarray) -> np.ndarray:
    return to_sequences(images, COLOUR_MEAN, COLOUR_STD)


IMAGE = Task(
    name="image",
    version=VERSION,
    summary="CIFAR-10 in grey as 1,024 pixels in a row (Long Range Arena), 10 classes; reads its python version",
    read=partial(read, _grey),
)

SCIFAR = Task(
    name="scifar",
    version=VERSION,
    summary="CIFAR-10 in colour as 1,024 pixels in a row, 10 classes; reads its python version",
    read=partial(read, _colour),
)
