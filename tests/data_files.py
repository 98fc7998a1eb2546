"""Small data sets in the true formats, one writer a task: `WRITERS[task](folder)`."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np


def cifar(folder: Path, rows: int = 20) -> Path:
    """The five training batches and the test batch, `rows` images each."""
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        data = rng.integers(0, 256, (rows, 3072)).astype(np.uint8)
        cifar_batch(folder / "cifar-10-batches-py" / name, data, rng.integers(0, 10, rows).tolist())
    return folder


def cifar_batch(path: Path, data: np.ndarray, labels: list[int]) -> Path:
    """A batch byte for byte as Python 2 pickled it: protocol 2, bytes as text, numpy's module names of then."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|")
    dtype += b"NNN" + number(-1) + number(-1) + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + number(data.shape[0]) + number(data.shape[1]) + b"\x86" + dtype + b"\x89"
    array += text(data.tobytes()) + b"tb"
    content = b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    content += text(b"batch_label") + text(b"testing batch 1 of 1") + b"u."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pickled(path: Path, content: object, protocol: int = 2) -> Path:
    """A pickle as this Python writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def imdb(folder: Path, reviews: Mapping[str, Sequence[str]] | None = None) -> Path:
    """The folder tree of the archive, by default three reviews a class and split."""
    texts = reviews or {
        f"{split}/{label}": [f"a {label} film, {'really ' * i}{label} {split}" for i in range(3)]
        for split in ("train", "test")
        for label in ("neg", "pos")
    }
    for where, found in texts.items():
        (folder / "aclImdb" / where).mkdir(parents=True, exist_ok=True)
        for i, text in enumerate(found):
            (folder / "aclImdb" / where / f"{i}_7.txt").write_bytes(text.encode())
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {"text": imdb, "image": cifar, "scifar": cifar}
