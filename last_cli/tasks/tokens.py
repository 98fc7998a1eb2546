"""Vocabularies and padding of token sequences, as the S5 code has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from last_cli.errors import UsageError
from last_cli.shapes import Int, Integer
from last_cli.tasks.cache import Arrays
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
    arrays: Arrays,
    vocabulary: tuple[str, ...],
    length: int,
    classes: int,
    source: str,
    note: str,
    documents: int = 1,
    dtype: type[np.integer] = np.int32,
) -> Split:
    """A split from `tokens` of all sequences one after the other, their `lengths` and the `labels`.

    Sequences longer than `length - 1` are cut, and <eos> is appended. Each sample has so many `documents` in a row.
    """
    tokens, full = arrays["tokens"], arrays["lengths"]
    if cut := int((full > length - 1).sum()):
        note += f"; {cut:,} of {len(full):,} sequences are longer than {length - 1} tokens and were cut there"
    if unknown := int((tokens == vocabulary.index(UNKNOWN)).sum()):
        note += f"; tokens not in the vocabulary: {unknown:,}"
    x, lengths = pad(tokens, full, length, vocabulary.index(END), dtype)
    if documents > 1:
        x, lengths = x.reshape(-1, documents, length), lengths.reshape(-1, documents)
    return Split(
        x=x,
        y=arrays["labels"].astype(np.int32),
        lengths=lengths,
        source=source,
        classes=classes,
        length=length,
        vocabulary=vocabulary,
        note=note,
    )


def pad(
    tokens: Integer[np.ndarray, " total"], full: Int[np.ndarray, " n"], length: int, eos: int, dtype: type[np.integer]
) -> tuple[Int[np.ndarray, "n {length}"], Int[np.ndarray, " n"]]:
    """One row a sequence: at most length - 1 of its tokens, <eos>, then zeros; and the lengths with <eos>."""
    x = np.zeros((len(full), length), dtype)
    kept = np.minimum(full, length - 1).astype(np.int32)
    starts = np.cumsum(full, dtype=np.int64) - full
    for row, start, n in zip(x, starts.tolist(), kept.tolist(), strict=True):
        row[:n] = tokens[start : start + n]
        row[n] = eos
    return x, kept + 1
