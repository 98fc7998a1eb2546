"""Tasks `pathfinder` and `pathx` of Long Range Arena: whether a path joins two dots, read pixel by pixel.

Samples, preprocessing and splits are those of the S5 code (s5/dataloaders/lra.py). It leaves out one empty image, which
lies in curv_baseline: neither the code nor this task reads that folder.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from last_cli.base.cache import Arrays, cached_rows, folder_fingerprint
from last_cli.base.rows import Rows
from last_cli.tasks import pathfinder_files as files
from last_cli.tasks.folder import find_folder
from last_cli.tasks.images import to_sequences
from last_cli.tasks.task import Query, Split, Task
from last_cli.tasks.torch_random import random_split

VERSION = 1
SHARE, SEED = 0.1, 42  # of validation, and of test
MEAN, STD = (0.5,), (0.5,)


def read(side: int, query: Query) -> Split:
    """A tenth (test, val) or the rest (train) of the images of `side` x `side` pixels.

    Raises:
        DataError: the files are missing or damaged.
    """
    folder = find_folder(query, files.nested(side), (files.METADATA,), files.HINT)
    key = {"task": query.task, "version": VERSION, "files": folder_fingerprint(folder / files.METADATA, "*.npy")}

    def images() -> Arrays:
        samples = files.read_samples(folder)
        chosen = [samples[i] for i in _indices(query.split, len(samples))]
        found = files.read_images([sample.image for sample in chosen], side, query.advance)
        return {"images": found, "labels": np.array([sample.label for sample in chosen], np.int8)}

    entry = cached_rows(f"{query.task}-{query.split}", key, "images", images)
    return Split(
        # The pixels of Path-X take gigabytes as numbers of four bytes.
        x=Rows.of(entry["images"], lambda rows: to_sequences(rows, MEAN, STD)),
        y=entry["labels"][:].astype(np.int32),
        lengths=None,
        source="files",
        classes=2,
        length=side**2,
        vocabulary=None,
        note=f"this split was read from {folder / files.LEVEL}",
    )


def _indices(split: str, n: int) -> np.ndarray:
    tenth = int(SHARE * n)
    train, val, test = random_split([n - 2 * tenth, tenth, tenth], SEED)
    return {"train": train, "val": val, "test": test}[split]


PATHFINDER = Task(
    name="pathfinder",
    version=VERSION,
    summary="whether a path joins two dots, 32x32 pixels in a row (Long Range Arena), 2 classes; reads pathfinder32",
    read=partial(read, 32),
    between=(-1.0, 1.0),
)

PATHX = Task(
    name="pathx",
    version=VERSION,
    summary="whether a path joins two dots, 128x128 pixels in a row (Long Range Arena), 2 classes; reads pathfinder128",
    read=partial(read, 128),
    between=(-1.0, 1.0),
)
