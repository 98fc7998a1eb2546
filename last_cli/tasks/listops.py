"""Task `listops` of Long Range Arena: the value, a digit, of nested MIN, MAX, MED and SM over digits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from last_cli.base.cache import Arrays, cached, cached_rows, fingerprint
from last_cli.tasks import listops_files as files
from last_cli.tasks.listops_grammar import TOKENS, generate
from last_cli.tasks.task import Query, Split, Task, whole_number
from last_cli.tasks.tokens import SPECIALS, UNKNOWN, Encoding, token_split, vocabulary_setting

VERSION = 1

# Long Range Arena asks for more than 500 and less than 2000 tokens, and the S5 code pads to 2048.
MIN_LENGTH, MAX_LENGTH, LENGTH = 501, 1999, 2048
TEST_SIZE = VAL_SIZE = 2_000
TRAIN_SIZE = 96_000

GENERATED_VOCABULARY = (
    *SPECIALS,
    *("X", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "[MAX", "[MED", "[MIN", "[SM"),
)
"""By falling probability, ties in string order: what counting an endless training file would give."""


def read(query: Query) -> Split:
    """The split from the published files in `data_dir`, else in $LAST_DATA_DIR, else generated.

    Where the settings ask for lengths other than Long Range Arena's, only an explicit `data_dir` is read.

    Settings: `length` (padded, with <eos>), `vocabulary`; for the generated split `seed`, `min_length` and
    `max_length` (tokens without <eos>), `train_size`.

    Raises:
        UsageError: a setting that makes no sense.
        DataError: the files are missing or damaged.
    """
    folder = _folder(query)
    return _generated(query) if folder is None else _published(query, folder)


LISTOPS = Task(
    name="listops",
    version=VERSION,
    summary="nested list operations (Long Range Arena), 10 classes; official files or a generated split",
    read=read,
)


def _folder(query: Query) -> Path | None:
    """The folder to read, None to generate."""
    needed = {query.split, "train"} if query.settings.get("vocabulary") is None else {query.split}
    if query.data_dir is not None:
        folder = files.find_folder(query.data_dir, needed)
        if folder is None:
            raise files.missing_files(query.data_dir, needed)
        return folder
    usual = os.environ.get("LAST_DATA_DIR")
    lengths = (query.settings.get("min_length", MIN_LENGTH), query.settings.get("max_length", MAX_LENGTH))
    if not usual or lengths != (MIN_LENGTH, MAX_LENGTH):
        return None
    return files.find_folder(Path(usual).expanduser(), needed)


def _published(query: Query, folder: Path) -> Split:
    length = whole_number(query.settings, "length", LENGTH, minimum=2)
    vocabulary = vocabulary_setting(query.settings)
    if vocabulary is None:
        train = folder / files.file_name("train")
        key = {"task": "listops", "version": VERSION, "file": fingerprint(train), "longest": length - 1}

        def count() -> Arrays:
            return {"tokens": np.array(files.read_vocabulary(train, length - 1, query.advance))}

        vocabulary = tuple(str(token) for token in cached("listops-vocabulary", key, count)["tokens"])
    path = folder / files.file_name(query.split)
    key = {"task": "listops", "version": VERSION, "file": fingerprint(path), "vocabulary": vocabulary}
    words = vocabulary
    arrays = cached_rows(f"listops-{query.split}", key, "tokens", lambda: files.read_split(path, words, query.advance))
    return token_split(arrays, Encoding(words, length), files.CLASSES, "files", f"this split was read from {path}")


def _generated(query: Query) -> Split:
    settings = query.settings
    low = whole_number(settings, "min_length", MIN_LENGTH, minimum=1)
    high = whole_number(settings, "max_length", MAX_LENGTH, minimum=low)
    seed = whole_number(settings, "seed", 0, minimum=0)
    length = whole_number(settings, "length", LENGTH if high == MAX_LENGTH else high + 1, minimum=2)
    train_size = whole_number(settings, "train_size", TRAIN_SIZE, minimum=1)
    # Test comes first in the stream, so that evaluating need not generate the training split.
    start, size = {
        "test": (0, TEST_SIZE),
        "val": (TEST_SIZE, VAL_SIZE),
        "train": (TEST_SIZE + VAL_SIZE, train_size),
    }[query.split]

    def compute() -> Arrays:
        found = generate(start + size, low, high, seed, lambda done: query.advance(done, start + size))
        skipped = found.lengths[:start].sum()
        return {
            "tokens": found.tokens[skipped:],
            "lengths": found.lengths[start:],
            "labels": found.values[start:],
        }

    key = {
        "task": "listops",
        "version": VERSION,
        "seed": seed,
        "lengths": [low, high],
        "slice": [start, size],
    }
    arrays = cached_rows(f"listops-generated-{query.split}", key, "tokens", compute)
    note = f"this split is generated (seed {seed}, {low} to {high} tokens), not the published one"
    vocabulary = vocabulary_setting(settings)
    if vocabulary is None:
        vocabulary = GENERATED_VOCABULARY
        note += "; the checkpoint names no vocabulary, so tokens are numbered as in the samples"
    unknown = vocabulary.index(UNKNOWN)
    numbers = np.array([vocabulary.index(token) if token in vocabulary else unknown for token in TOKENS])
    return token_split(arrays, Encoding(vocabulary, length, numbers=numbers), files.CLASSES, "generated", note)
