"""Task `retrieval` of Long Range Arena: whether one paper of the ACL anthology cites another, read by the character.

Characters, vocabulary and padding are those of the S5 code (s5/dataloaders/lra.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.cache import Arrays, cached, cached_rows, fingerprint
from last_cli.tasks import retrieval_files as files
from last_cli.tasks.characters import DTYPE, count_characters, number_characters
from last_cli.tasks.folder import data_folder, find
from last_cli.tasks.task import Progress, Split, Task, check_request, first, whole_number
from last_cli.tasks.tokens import token_split, vocabulary_setting

VERSION = 1
LENGTH = 4000


def load(
    split: str = "test",
    *,
    data_dir: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Split:
    """Pairs of papers from the files of lra_release, `x` (n, 2, length) with `lengths` (n, 2).

    Settings: `length` (padded, with <eos>), `vocabulary`.

    Raises:
        UsageError: an unknown split, a limit or a setting that makes no sense.
        DataError: the files are missing or damaged.
    """
    check_request("retrieval", split, limit)
    settings, report = settings or {}, progress or (lambda done, total: None)
    length = whole_number(settings, "length", LENGTH, minimum=2)
    vocabulary = vocabulary_setting(settings)
    names = [files.file_name(split)] + [files.file_name("train")] * (vocabulary is None and split != "train")
    folder = find("retrieval", data_folder("retrieval", data_dir, files.HINT), files.NESTED, names, files.HINT)
    path, train = folder / files.file_name(split), folder / files.file_name("train")
    if vocabulary is None:
        key = _key(train) | {"longest": length - 1}
        vocabulary = tuple(
            map(str, cached("retrieval-vocabulary", key, lambda: _count(train, length, report))["tokens"])
        )
    words = vocabulary
    key = _key(path) | {"longest": length - 1, "vocabulary": vocabulary}
    pairs = cached_rows(f"retrieval-{split}", key, "tokens", lambda: _number(path, words, length, report))
    note = f"this split was read from {path}"
    return first(token_split(pairs, vocabulary, length, 2, "files", note, documents=2, dtype=DTYPE), limit)


RETRIEVAL = Task(
    name="retrieval",
    version=VERSION,
    summary="whether one paper cites another, as characters (Long Range Arena), 2 classes; reads new_aan_pairs",
    load=load,
)


def _key(path: Path) -> dict[str, Any]:
    return {"task": "retrieval", "version": VERSION, "file": fingerprint(path)}


def _count(path: Path, length: int, report: Progress) -> Arrays:
    texts = (text for _, *pair in files.read_rows(path, report) for text in pair)
    return {"tokens": np.array(count_characters(texts, length - 1))}


def _number(path: Path, vocabulary: tuple[str, ...], length: int, report: Progress) -> Arrays:
    """`tokens` and `lengths` of the first text, the second, the first of the next pair and so on, with `labels`."""
    labels: list[int] = []

    def texts():
        for label, *pair in files.read_rows(path, report):
            labels.append(label)
            yield from pair

    numbered = number_characters(texts(), vocabulary, length - 1)
    return numbered | {"labels": np.array(labels, np.int8)}
