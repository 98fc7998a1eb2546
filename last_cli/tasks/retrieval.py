"""Task `retrieval` of Long Range Arena: whether one paper of the ACL anthology cites another, read by the character.

Characters, vocabulary and padding are those of the S5 code (s5/dataloaders/lra.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.cache import Arrays, cached, cached_rows, fingerprint
from last_cli.tasks import retrieval_files as files
from last_cli.tasks.characters import DTYPE, count_characters, number_characters
from last_cli.tasks.folder import find_folder
from last_cli.tasks.task import Advance, Query, Split, Task, whole_number
from last_cli.tasks.tokens import Encoding, token_split, vocabulary_setting

VERSION = 1
LENGTH = 4000


def read(query: Query) -> Split:
    """Pairs of papers from the files of lra_release, `x` (n, 2, length) with `lengths` (n, 2).

    Settings: `length` (padded, with <eos>), `vocabulary`.

    Raises:
        UsageError: a setting that makes no sense.
        DataError: the files are missing or damaged.
    """
    length = whole_number(query.settings, "length", LENGTH, minimum=2)
    vocabulary = vocabulary_setting(query.settings)
    own, training = files.file_name(query.split), files.file_name("train")
    names = list(dict.fromkeys([own, training])) if vocabulary is None else [own]
    folder = find_folder(query, files.NESTED, names, files.HINT)
    path, train = folder / own, folder / training
    if vocabulary is None:
        key = _key(train) | {"longest": length - 1}
        counted = cached("retrieval-vocabulary", key, lambda: _count(train, length, query.advance))
        vocabulary = tuple(map(str, counted["tokens"]))
    words = vocabulary
    key = _key(path) | {"longest": length - 1, "vocabulary": vocabulary}
    pairs = cached_rows(f"retrieval-{query.split}", key, "tokens", lambda: _number(path, words, length, query.advance))
    note = f"this split was read from {path}"
    return token_split(pairs, Encoding(vocabulary, length, documents=2, dtype=DTYPE), 2, "files", note)


RETRIEVAL = Task(
    name="retrieval",
    version=VERSION,
    summary="whether one paper cites another, as characters (Long Range Arena), 2 classes; reads new_aan_pairs",
    read=read,
)


def _key(path: Path) -> dict[str, Any]:
    return {"task": "retrieval", "version": VERSION, "file": fingerprint(path)}


def _count(path: Path, length: int, advance: Advance) -> Arrays:
    texts = (text for _, *pair in files.read_rows(path, advance) for text in pair)
    return {"tokens": np.array(count_characters(texts, length - 1))}


def _number(path: Path, vocabulary: tuple[str, ...], length: int, advance: Advance) -> Arrays:
    """`tokens` and `lengths` of the first text, the second, the first of the next pair and so on, with `labels`."""
    labels: list[int] = []

    def texts():
        for label, *pair in files.read_rows(path, advance):
            labels.append(label)
            yield from pair

    numbered = number_characters(texts(), vocabulary, length - 1)
    return numbered | {"labels": np.array(labels, np.int8)}
