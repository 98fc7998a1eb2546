"""Tasks `smnist` and `psmnist`: MNIST's digits pixel by pixel, by rows or in an order of reversed bits.

Preprocessing and splits are those of the S5 code (s5/dataloaders/basic.py), which does not normalise.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from last_cli.base.annotations import Int
from last_cli.base.errors import DataError
from last_cli.base.rows import Rows
from last_cli.tasks.folder import folder_with, named_folder
from last_cli.tasks.idx import read_idx
from last_cli.tasks.images import to_sequences
from last_cli.tasks.task import Query, Split, Task
from last_cli.tasks.torch_random import training_part

VERSION = 1
SIDE, CLASSES = 28, 10
NESTED = (".", "MNIST/raw", "mnist", "mnist/MNIST/raw")
HINT = "fetch train-images-idx3-ubyte.gz and its three siblings from https://ossci-datasets.s3.amazonaws.com/mnist/"


def read(permuted: bool, query: Query) -> Split:
    """The test images, or nine tenths (train) and one tenth (val) of the training images, in [0, 1].

    Nothing is cached: the files are read faster than what a cache would hold.

    Args:
        permuted: the pixels come in the order of `bit_reversal`, else row by row.
        query: what is asked for.

    Raises:
        DataError: the files are missing or damaged.
    """
    images, labels, source = _images(query)
    if query.split != "test":
        chosen = training_part(query.split, len(labels))
        images, labels = images[chosen], labels[chosen]
    order = bit_reversal(SIDE**2) if permuted else np.arange(SIDE**2)
    return Split(
        x=Rows.of(images, lambda chosen: to_sequences(chosen)[:, order]),
        y=labels.astype(np.int32),
        lengths=None,
        source="files",
        classes=CLASSES,
        length=SIDE**2,
        vocabulary=None,
        note=f"this split was read from {source}",
    )


def bit_reversal(n: int) -> Int[np.ndarray, " n"]:
    """0 to n - 1 in the order of their bits read backwards, as numbers below the next power of two."""
    bits = (n - 1).bit_length()
    order = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits)]
    return np.array([i for i in order if i < n])


SMNIST = Task(
    name="smnist",
    version=VERSION,
    summary="MNIST's digits as 784 pixels in a row, 10 classes; reads its IDX files",
    read=partial(read, False),
    between=(0.0, 1.0),
)

PSMNIST = Task(
    name="psmnist",
    version=VERSION,
    summary="MNIST's digits as 784 pixels in bit-reversal order, 10 classes; reads its IDX files",
    read=partial(read, True),
    between=(0.0, 1.0),
)


def _images(query: Query) -> tuple[np.ndarray, np.ndarray, Path]:
    """Images (n, 28, 28), labels (n,) and the file of the images."""
    named, part = named_folder(query, HINT), "t10k" if query.split == "test" else "train"
    names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    nested = [f"{folder}/{name}" for folder in NESTED for name in names]
    packed = all(not (named / path).exists() for path in nested)
    suffix = ".gz" if packed and any((named / f"{path}.gz").exists() for path in nested) else ""
    folder = folder_with(query.task, named, NESTED, [name + suffix for name in names], f"{HINT} (unpacked or not)")
    paths = [folder / (name + suffix) for name in names]
    images, labels = (read_idx(path, HINT) for path in paths)
    if images.shape[1:] != (SIDE, SIDE):
        raise DataError(f"{paths[0]}: expected images of {SIDE} x {SIDE} bytes, found shape {images.shape}", HINT)
    if labels.shape != images.shape[:1] or labels.max(initial=0) >= CLASSES:
        raise DataError(f"{paths[1]}: expected {len(images)} labels from 0 to 9, found shape {labels.shape}", HINT)
    return images, labels, paths[0]
