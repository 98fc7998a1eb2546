"""Tasks `pathfinder` and `pathx` of Long Range Arena: whether a path joins two dots, read pixel by pixel.

Samples, preprocessing and splits are those of the S5 code (s5/dataloaders/lra.py). It leaves out one empty image, which
lies in curv_baseline: neither the code nor this task reads that folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.cache import Arrays, cached_rows, folder_fingerprint
from last_cli.base.rows import Rows
from last_cli.tasks import pathfinder_files as files
from last_cli.tasks.folder import data_folder, find
from last_cli.tasks.images import to_sequences
from last_cli.tasks.task import Progress, Split, Task, check_request, first
from last_cli.tasks.torch_random import random_split

VERSION = 1
SHARE, SEED = 0.1, 42  # of validation, and of test
MEAN, STD = (0.5,), (0.5,)


def load(
    task: str,
    side: int,
    split: str = "test",
    *,
    data_dir: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Split:
    """A tenth (test, val) or the rest (train) of the images of `side` x `side` pixels.

    Raises:
        UsageError: an unknown split, or a limit that makes no sense.
        DataError: the files are missing or damaged.
    """
    check_request(task, split, limit)
    nested = files.nested(side)
    folder = find(task, data_folder(task, data_dir, files.HINT), nested, (files.METADATA,), files.HINT)
    key = {"task": task, "version": VERSION, "files": folder_fingerprint(folder / files.METADATA, "*.npy")}

    def read() -> Arrays:
        samples = files.read_samples(folder)
        chosen = [samples[i] for i in _indices(split, len(samples))]
        images = files.read_images([sample.image for sample in chosen], side, progress or (lambda done, total: None))
        return {"images": images, "labels": np.array([sample.label for sample in chosen], np.int8)}

    entry = cached_rows(f"{task}-{split}", key, "images", read)
    labels = entry["labels"][:]
    return first(
        Split(
            # The pixels of Path-X take gigabytes as numbers of four bytes.
            x=Rows.of(entry["images"], lambda images: to_sequences(images, MEAN, STD), limit),
            y=labels[:limit].astype(np.int32),
            lengths=None,
            source="files",
            classes=2,
            length=side**2,
            vocabulary=None,
            note=f"this split was read from {folder / files.LEVEL}",
        ),
        limit,
        of=len(labels),
    )


def _indices(split: str, n: int) -> np.ndarray:
    tenth = int(SHARE * n)
    train, val, test = random_split([n - 2 * tenth, tenth, tenth], SEED)
    return {"train": train, "val": val, "test": test}[split]


PATHFINDER = Task(
    name="pathfinder",
    version=VERSION,
    summary="whether a path joins two dots, 32x32 pixels in a row (Long Range Arena), 2 classes; reads pathfinder32",
    load=partial(load, "pathfinder", 32),
)

PATHX = Task(
    name="pathx",
    version=VERSION,
    summary="whether a path joins two dots, 128x128 pixels in a row (Long Range Arena), 2 classes; reads pathfinder128",
    load=partial(load, "pathx", 128),
)
