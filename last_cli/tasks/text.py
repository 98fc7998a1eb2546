"""Task `text` of Long Range Arena: whether a film review of IMDB is positive, read character by character.

Characters, vocabulary and padding are those of the S5 code (s5/dataloaders/lra.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from last_cli.base.cache import Arrays, cached, cached_rows
from last_cli.tasks import text_files as files
from last_cli.tasks.characters import DTYPE, count_characters, number_characters
from last_cli.tasks.folder import named_folder
from last_cli.tasks.task import Advance, Query, Split, Task, take_turns, whole_number
from last_cli.tasks.tokens import Encoding, token_split, vocabulary_setting

VERSION = 1
LENGTH, MIN_FREQ = 4096, 15


def read(query: Query) -> Split:
    """The reviews of the folder `aclImdb`, or of the Hugging Face data set, negative and positive in turns.

    There is no validation data: "val" is the test split, as in the S5 code.

    Settings: `length` (padded, with <eos>), `vocabulary`.

    Raises:
        UsageError: a setting that makes no sense.
        DataError: the files are missing or damaged.
    """
    length = whole_number(query.settings, "length", LENGTH, minimum=2)
    vocabulary = vocabulary_setting(query.settings)
    stored = "train" if query.split == "train" else "test"
    data = files.find_files(named_folder(query, files.HINT), {stored} if vocabulary else {stored, "train"})
    if vocabulary is None:
        key = _key(data, "train") | {"longest": length - 1, "min_freq": MIN_FREQ}
        counted = cached("text-vocabulary", key, lambda: _count(data, length, query.advance))
        vocabulary = tuple(map(str, counted["tokens"]))
    words = vocabulary

    def number() -> Arrays:
        texts, labels = files.read(data, stored, query.advance)
        order = take_turns(labels)
        return {"labels": labels[order]} | number_characters((texts[i] for i in order), words, length - 1)

    key = _key(data, stored) | {"longest": length - 1, "vocabulary": vocabulary}
    note = f"this split was read from {data.source(stored)}"
    if query.split == "val":
        note += ", the test data, as the S5 code validates on it"
    arrays = cached_rows(f"text-{stored}", key, "tokens", number)
    return token_split(arrays, Encoding(vocabulary, length, dtype=DTYPE), 2, "files", note)


TEXT = Task(
    name="text",
    version=VERSION,
    summary="IMDB reviews as characters (Long Range Arena), 2 classes; reads aclImdb, or parquet with pyarrow",
    read=read,
    selection_split=None,
)


def _key(data: files.Files, split: str) -> dict[str, Any]:
    return {"task": "text", "version": VERSION, "files": data.fingerprint(split)}


def _count(data: files.Files, length: int, advance: Advance) -> Arrays:
    texts, _ = files.read(data, "train", advance)
    return {"tokens": np.array(count_characters(texts, length - 1, MIN_FREQ))}
