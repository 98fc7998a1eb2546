"""Texts as sequences of characters, counted and numbered by the array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from last_cli.base.annotations import Integer, UInt32
from last_cli.tasks.tokens import UNKNOWN, build_vocabulary

CODE_POINTS = 0x110000
# Of padded texts, which can take gigabytes: their vocabularies have a hundred characters or so.
DTYPE = np.int16


def count_characters(texts: Iterable[str], longest: int, min_freq: int = 1) -> tuple[str, ...]:
    """The vocabulary of the first `longest` characters of each text."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for text in texts:
        points, times = np.unique(_code_points(text[:longest]), return_counts=True)
        counts[points] += times
    return build_vocabulary({chr(point): int(counts[point]) for point in np.flatnonzero(counts)}, min_freq)


def number_characters(texts: Iterable[str], vocabulary: tuple[str, ...], longest: int) -> dict[str, np.ndarray]:
    """`tokens` of all texts one after the other, each cut after `longest` + 1 characters, and their `lengths`.

    The one character too many shows that a text is cut.
    """
    table = np.full(CODE_POINTS, vocabulary.index(UNKNOWN), np.min_scalar_type(len(vocabulary)))
    for number, token in enumerate(vocabulary):
        if len(token) == 1:
            table[ord(token)] = number
    parts: list[Integer[np.ndarray, " _"]] = [table[_code_points(text[: longest + 1])] for text in texts]
    lengths = np.array([len(part) for part in parts], np.int64)
    return {"tokens": np.concatenate([*parts, table[:0]]), "lengths": lengths}


def _code_points(text: str) -> UInt32[np.ndarray, " n"]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
