"""Vocabularies and padding of token sequences, as the S5 code has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from last_cli.base.annotations import Int
from last_cli.base.cache import Entry
from last_cli.base.errors import UsageError
from last_cli.base.rows import Rows, blocks
from last_cli.tasks.task import Split

PAD, UNKNOWN, END = SPECIALS = ("<pad>", "<unk>", "<eos>")


def build_vocabulary(counts: Mapping[str, int], min_freq: int = 1) -> tuple[str, ...]:
    """torchtext's order: the specials, then tokens by falling frequency, ties in string order."""
    kept = [token for token in counts if counts[token] >= min_freq and token not in SPECIALS]
    return (*SPECIALS, *sorted(kept, key=lambda token: (-counts[token], token)))


def vocabulary_setting(settings: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The vocabulary that a checkpoint carries in its task settings, if any.

    Raises:
        UsageError: it lacks a special token.
    """
    tokens = settings.get("vocabulary")
    if tokens is None:
        return None
    words = tuple(tokens) if isinstance(tokens, list | tuple) else ()
    if words[:1] != (PAD,) or not {*SPECIALS} <= {str(word) for word in words}:
        raise UsageError(
            f"task setting 'vocabulary' is {tokens!r}, expected <pad> first, and <unk> and <eos> in it",
            "correct the task settings in the checkpoint's config",
        )
    return tuple(str(word) for word in words)


def token_split(
    entry: Entry,
    vocabulary: tuple[str, ...],
    length: int,
    classes: int,
    source: str,
    note: str,
    documents: int = 1,
    dtype: type[np.integer] = np.int32,
    numbers: Int[np.ndarray, " n"] | None = None,
) -> Split:
    """A split from `tokens` of all sequences one after the other, their `lengths` and the `labels`.

    Sequences longer than `length - 1` are cut, and <eos> is appended. Each sample has so many `documents` in a row.
    Tokens count the entries of the vocabulary, or those of `numbers`, which does.
    """
    tokens, full, labels = entry["tokens"], entry["lengths"][:], entry["labels"][:]
    numbers = np.arange(len(vocabulary)) if numbers is None else numbers
    if cut := int((full > length - 1).sum()):
        note += f"; {cut:,} of {len(full):,} sequences are longer than {length - 1} tokens and were cut there"
    strange = numbers == vocabulary.index(UNKNOWN)
    if unknown := sum(int(strange[block].sum()) for block in blocks(tokens)):
        note += f"; tokens not in the vocabulary: {unknown:,}"
    kept = np.minimum(full, length - 1).astype(np.int32)
    starts = np.cumsum(full, dtype=np.int64) - full
    numbers, eos = numbers.astype(dtype), vocabulary.index(END)
    shape = (length,) if documents == 1 else (documents, length)

    def read(rows: np.ndarray) -> np.ndarray:
        sequences = (rows[:, None] * documents + np.arange(documents)).reshape(-1)
        x = np.zeros((len(sequences), length), dtype)
        for row, i in zip(x, sequences.tolist(), strict=True):
            row[: kept[i]] = numbers[tokens[starts[i] : starts[i] + kept[i]]]
            row[kept[i]] = eos
        return x.reshape(len(rows), *shape)

    return Split(
        x=Rows(read, (len(labels), *shape), np.dtype(dtype)),
        y=labels.astype(np.int32),
        lengths=(kept + 1).reshape(-1, documents) if documents > 1 else kept + 1,
        source=source,
        classes=classes,
        length=length,
        vocabulary=vocabulary,
        note=note,
    )
