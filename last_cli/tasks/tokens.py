"""Vocabularies and padding of token sequences, as the S5 code has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from last_cli.base.annotations import Int
from last_cli.base.cache import Entry
from last_cli.base.errors import UsageError
from last_cli.base.rows import Rows, blocks
from last_cli.tasks.task import Split

PAD, UNKNOWN, END = SPECIALS = ("<pad>", "<unk>", "<eos>")


def build_vocabulary(counts: Mapping[str, int], min_freq: int = 1) -> tuple[str, ...]:
    """The vocabulary in torchtext's order: the specials, then tokens by falling frequency, ties in string order."""
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


@dataclass(frozen=True, eq=False)
class Encoding:
    """How stored tokens become the steps of a sample.

    Attributes:
        vocabulary: what the steps of a sample count.
        length: steps of a sequence: longer ones are cut, so that <eos> ends each, and shorter ones padded.
        documents: sequences of a sample, which are stored in a row.
        dtype: of the steps.
        numbers: for each stored token its number in the vocabulary; None where the stored ones are these numbers.
    """

    vocabulary: tuple[str, ...]
    length: int
    documents: int = 1
    dtype: type[np.integer] = np.int32
    numbers: Int[np.ndarray, " n"] | None = None


def token_split(entry: Entry, encoding: Encoding, classes: int, source: str, note: str) -> Split:
    """A split from its stored tokens.

    Args:
        entry: `tokens` of all sequences one after the other, their `lengths`, and the `labels` of the samples.
        encoding: what becomes of them.
        classes: of the labels.
        source: of the split.
        note: of the split; what was cut, or is not in the vocabulary, is added to it.
    """
    tokens, full, labels = entry["tokens"], entry["lengths"][:], entry["labels"][:]
    vocabulary, length, documents = encoding.vocabulary, encoding.length, encoding.documents
    numbers = np.arange(len(vocabulary)) if encoding.numbers is None else encoding.numbers
    if cut := int((full > length - 1).sum()):
        note += f"; {cut:,} of {len(full):,} sequences are longer than {length - 1} tokens and were cut there"
    strange = numbers == vocabulary.index(UNKNOWN)
    if unknown := sum(int(strange[block].sum()) for block in blocks(tokens)):
        note += f"; tokens not in the vocabulary: {unknown:,}"
    kept = np.minimum(full, length - 1).astype(np.int32)
    starts = np.cumsum(full, dtype=np.int64) - full
    numbers, eos = numbers.astype(encoding.dtype), vocabulary.index(END)
    shape = (length,) if documents == 1 else (documents, length)

    def read(rows: np.ndarray) -> np.ndarray:
        sequences = (rows[:, None] * documents + np.arange(documents)).reshape(-1)
        x = np.zeros((len(sequences), length), encoding.dtype)
        for row, i in zip(x, sequences.tolist(), strict=True):
            row[: kept[i]] = numbers[tokens[starts[i] : starts[i] + kept[i]]]
            row[kept[i]] = eos
        return x.reshape(len(rows), *shape)

    return Split(
        x=Rows(read, (len(labels), *shape), np.dtype(encoding.dtype)),
        y=labels.astype(np.int32),
        lengths=(kept + 1).reshape(-1, documents) if documents > 1 else kept + 1,
        source=source,
        classes=classes,
        length=length,
        vocabulary=vocabulary,
        note=note,
    )
