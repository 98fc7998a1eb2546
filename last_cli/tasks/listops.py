"""Task `listops` of Long Range Arena: the value, a digit, of nested MIN, MAX, MED and SM over digits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.cache import Arrays, cached, cached_rows, fingerprint
from last_cli.tasks import listops_files as files
from last_cli.tasks.listops_grammar import TOKENS, generate
from last_cli.tasks.task import Progress, Split, Task, check_request, first, whole_number
from last_cli.tasks.tokens import SPECIALS, UNKNOWN, token_split, vocabulary_setting

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


def load(
    split: str = "test",
    *,
    data_dir: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Split:
    """The split from the published files in `data_dir`, else in $LAST_DATA_DIR, else generated.

    Where the settings ask for lengths other than Long Range Arena's, only an explicit `data_dir` is read.

    Settings: `length` (padded, with <eos>), `vocabulary`; for the generated split `seed`, `min_length` and
    `max_length` (tokens without <eos>), `train_size`.

    Raises:
        UsageError: an unknown split, a limit or a setting that makes no sense.
        DataError: the files are missing or damaged.
    """
    check_request("listops", split, limit)
    settings = settings or {}
    report = progress or (lambda done, total: None)
    folder = _folder(split, data_dir, settings)
    if folder is None:
        return first(_generated(split, settings, report), limit)
    return first(_published(split, folder, settings, report), limit)


LISTOPS = Task(
    name="listops",
    version=VERSION,
    summary="nested list operations (Long Range Arena), 10 classes; official files or a generated split",
    load=load,
)


def _folder(split: str, data_dir: Path | None, settings: Mapping[str, Any]) -> Path | None:
    """The folder to read, None to generate."""
    needed = {split, "train"} if settings.get("vocabulary") is None else {split}
    if data_dir is not None:
        folder = files.find_folder(data_dir, needed)
        if folder is None:
            raise files.missing_files(data_dir, needed)
        return folder
    usual = os.environ.get("LAST_DATA_DIR")
    lengths = (settings.get("min_length", MIN_LENGTH), settings.get("max_length", MAX_LENGTH))
    if not usual or lengths != (MIN_LENGTH, MAX_LENGTH):
        return None
    return files.find_folder(Path(usual).expanduser(), needed)


def _published(split: str, folder: Path, settings: Mapping[str, Any], progress: Progress) -> Split:
    length = whole_number(settings, "length", LENGTH, minimum=2)
    vocabulary = vocabulary_setting(settings)
    if vocabulary is None:
        train = folder / files.file_name("train")
        key = {"task": "listops", "version": VERSION, "file": fingerprint(train), "longest": length - 1}

        def count() -> Arrays:
            return {"tokens": np.array(files.read_vocabulary(train, length - 1, progress))}

        vocabulary = tuple(str(token) for token in cached("listops-vocabulary", key, count)["tokens"])
    path = folder / files.file_name(split)
    key = {"task": "listops", "version": VERSION, "file": fingerprint(path), "vocabulary": vocabulary}
    arrays = cached_rows(f"listops-{split}", key, "tokens", lambda: files.read_split(path, vocabulary, progress))
    return token_split(arrays, vocabulary, length, files.CLASSES, "files", f"this split was read from {path}")


def _generated(split: str, settings: Mapping[str, Any], progress: Progress) -> Split:
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
    }[split]

    def compute() -> Arrays:
        found = generate(start + size, low, high, seed, lambda done: progress(done, start + size))
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
    arrays = cached_rows(f"listops-generated-{split}", key, "tokens", compute)
    note = f"this split is generated (seed {seed}, {low} to {high} tokens), not the published one"
    vocabulary = vocabulary_setting(settings)
    if vocabulary is None:
        vocabulary = GENERATED_VOCABULARY
        note += "; the checkpoint names no vocabulary, so tokens are numbered as in the samples"
    unknown = vocabulary.index(UNKNOWN)
    numbers = np.array([vocabulary.index(token) if token in vocabulary else unknown for token in TOKENS])
    return token_split(arrays, vocabulary, length, files.CLASSES, "generated", note, numbers=numbers)
