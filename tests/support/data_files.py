"""Small data sets in the true formats, one writer a task: `WRITERS[task](folder)`."""

from __future__ import annotations

import gzip
import pickle
import struct
import wave
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.tasks.speech_files import WORDS


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


PAIRS = {
    "train": ["1.0\tA00-1\tB00-2\taab\tbba", "0.0\tA00-3\tB00-4\tcb\ta"],
    "eval": ["0.0\tA00-5\tB00-6\tac\tca"],
    "test": ["0.0\tA00-7\tB00-8\tabc\tb", "1.0\tA00-9\tB00-10\tz\tcab", "1.0\tA00-9\tB00-11\ta\tb"],
}


def pairs(folder: Path, rows: Mapping[str, Sequence[str]] = PAIRS) -> Path:
    """AAN's files, which have no header."""
    (folder / "tsv_data").mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        (folder / f"tsv_data/new_aan_pairs.{name}.tsv").write_bytes("".join(line + "\n" for line in lines).encode())
    return folder


def pathfinder(folder: Path, side: int, files: int = 5, lines: int = 10) -> Path:
    """Metadata files 1.npy etc. with a line an image, as the archive has them, and the images."""
    level = folder / f"pathfinder{side}" / "curv_contour_length_14"
    (level / "metadata").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for file in range(1, files + 1):
        (level / f"imgs/{file}").mkdir(parents=True)
        said = []
        for i in range(lines):
            (level / f"imgs/{file}/sample_{i}.png").write_bytes(_noise(side, i % 5))
            said.append(f"imgs/{file} sample_{i}.png {i} {rng.integers(2)} 1.8 6 2.0 5 1.5 2 1")
        (level / f"metadata/{file}.npy").write_text("\n".join(said) + "\n")
    return folder


@cache
def _noise(side: int, seed: int) -> bytes:
    grey = np.random.default_rng(seed).integers(0, 256, (side, side, 1)).astype(np.uint8)
    return png(grey, [seed] * side)


def png(pixels: np.ndarray, filters: Sequence[int], palette: bytes = b"", colour: int | None = None) -> bytes:
    """A PNG image of (height, width, channels) bytes, with a filter for each row, slowly and by the specification."""
    height, width, channels = pixels.shape
    raw = np.pad(pixels.reshape(height, -1).astype(int), ((1, 0), (channels, 0)))
    rows = b""
    for y, kind in enumerate(filters, 1):
        rows += bytes([kind])
        for x in range(channels, raw.shape[1]):
            left, up, corner = raw[y, x - channels], raw[y - 1, x], raw[y - 1, x - channels]
            p = left + up - corner
            paeth = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            rows += bytes([(raw[y, x] - [0, left, up, (left + up) // 2, paeth][kind]) % 256])
    colour = {1: 0, 3: 2, 2: 4, 4: 6}[channels] if colour is None else colour
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    packed = zlib.compress(rows)
    parts = [(b"IHDR", header), *([(b"PLTE", palette)] if palette else []), (b"IDAT", packed[:20])]
    return png_of([*parts, (b"IDAT", packed[20:]), (b"IEND", b"")])


def png_of(parts: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of these parts."""
    sums = [(kind, body, zlib.crc32(kind + body)) for kind, body in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", c) for k, b, c in sums)


def mnist(folder: Path, rows: int = 20, packed: bool = True) -> Path:
    """The four IDX files."""
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        idx(folder / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (rows, 28, 28)), packed)
        idx(folder / f"{part}-labels-idx1-ubyte", rng.integers(0, 10, rows), packed)
    return folder


def idx(path: Path, array: np.ndarray, packed: bool = False) -> Path:
    """An IDX file of bytes, packed by gzip or not."""
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_name(path.name + ".gz") if packed else path
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def speech(folder: Path, rows: int = 4) -> Path:
    """A folder a word: one recording for val, one for test, the others for train."""
    rng, lists = np.random.default_rng(0), ([], [])
    for word in WORDS:
        for i in range(rows):
            wav(folder / word / f"{i}_nohash_0.wav", rng.normal(0, 3000, 16_000 if i else 12_000))
        for said, i in zip(lists, (0, 2), strict=True):
            said.append(f"{word}/{i}_nohash_0.wav")
    wav(folder / "_background_noise_" / "noise.wav", rng.normal(0, 3000, 16_000))
    for name, said in zip(("validation_list.txt", "testing_list.txt"), lists, strict=True):
        (folder / name).write_text("\n".join(said) + "\n")
    return folder


def wav(path: Path, sound: Any, rate: int = 16_000, channels: int = 1) -> Path:
    """A wav file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.asarray(sound).astype("<i2").tobytes())
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "text": imdb,
    "retrieval": pairs,
    "image": cifar,
    "pathfinder": partial(pathfinder, side=32),
    "pathx": partial(pathfinder, side=128, files=2),
    "smnist": mnist,
    "psmnist": mnist,
    "scifar": cifar,
    "speech35": speech,
    "speech35-8khz": speech,
}
