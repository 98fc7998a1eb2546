"""IMDB's reviews: the folder tree of the original archive, or the files of the Hugging Face data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.annotations import Int64
from last_cli.base.cache import fingerprint, folder_fingerprint
from last_cli.base.errors import DataError
from last_cli.base.files import regular
from last_cli.tasks.folder import folder_with
from last_cli.tasks.task import Advance

LABELS = ("neg", "pos")
TREE = (".", "aclImdb", "imdb/aclImdb")
TABLES = (".", "plain_text", "imdb/plain_text", "imdb")
# The hub's own files, what `Dataset.save_to_disk` writes, and what `load_dataset` keeps in its cache.
PATTERNS = ("{}-*.parquet", "{}/*.arrow", "imdb-{}*.arrow")
HINT = "unpack https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz (tar -xf)"


@dataclass(frozen=True)
class Files:
    """Where the reviews are: the folder of a tree, or the tables of each split."""

    folder: Path
    tables: dict[str, list[Path]]

    def source(self, split: str) -> Path:
        """The folder of a split's reviews."""
        return self.tables[split][0].parent if self.tables else self.folder / split

    def fingerprint(self, split: str) -> list[list[str | int]]:
        """What tells one state of a split's files from another."""
        if self.tables:
            return [fingerprint(path) for path in self.tables[split]]
        return [folder_fingerprint(self.folder / split / label, "*.txt") for label in LABELS]


def find_files(data_dir: Path, splits: set[str]) -> Files:
    """The tree, else the tables, in or under `data_dir` that have all `splits`.

    Raises:
        DataError: there is neither. Names every path looked for.
    """
    for nested in TABLES:
        tables = {split: _tables(data_dir / nested, split) for split in sorted(splits)}
        if all(tables.values()):
            return Files(data_dir / nested, tables)
    needed = [f"{split}/{label}" for split in sorted(splits) for label in LABELS]
    return Files(folder_with("text", data_dir, TREE, needed, HINT), {})


def read(files: Files, split: str, advance: Advance) -> tuple[list[str], Int64[np.ndarray, " n"]]:
    """The texts and their labels, 0 for negative, in the order of the files.

    Raises:
        DataError: a file cannot be read, or there is none.
    """
    rows = _read_tables(files.tables[split]) if files.tables else _read_tree(files.folder / split, advance)
    texts, labels = [], []
    for text, label in rows:
        texts.append(text)
        labels.append(label)
    if not texts:
        raise DataError(f"{files.source(split)}: expected reviews, found none", HINT)
    return texts, np.array(labels, np.int64)


def _read_tree(folder: Path, advance: Advance) -> Iterator[tuple[str, int]]:
    paths = [(path, i) for i, label in enumerate(LABELS) for path in sorted((folder / label).glob("*.txt"))]
    for done, (path, label) in enumerate(paths):
        try:
            # By the byte, as line ends are characters like others.
            yield regular(path).read_bytes().decode("utf-8"), label
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {path}: {error}", HINT) from error
        if done % 1000 == 999 or done + 1 == len(paths):
            advance(done + 1, len(paths))


def _tables(folder: Path, split: str) -> list[Path]:
    return next((found for p in PATTERNS if (found := sorted(folder.glob(p.format(split))))), [])


def _read_tables(paths: Sequence[Path]) -> Iterator[tuple[str, int]]:
    try:
        parquet, ipc = import_module("pyarrow.parquet"), import_module("pyarrow.ipc")
    except ImportError as error:
        raise DataError(
            f"reading {paths[0]} needs pyarrow, which is not installed",
            "pip install pyarrow, or " + HINT,
        ) from error
    for path in paths:
        try:
            table: Any = parquet.read_table(regular(path)) if path.suffix == ".parquet" else _read_stream(ipc, path)
            texts, labels = (table.column(name).to_pylist() for name in ("text", "label"))
        except Exception as error:  # of pyarrow's many kinds
            raise DataError(f"cannot read {path}: {error}", HINT) from error
        for row, (text, label) in enumerate(zip(texts, labels, strict=True)):
            if not isinstance(text, str) or label not in (0, 1):
                raise DataError(f"{path}, row {row}: expected a text and a label of 0 or 1, found {label!r}", HINT)
            yield text, label


def _read_stream(ipc: Any, path: Path) -> Any:
    with regular(path).open("rb") as file:
        return ipc.open_stream(file).read_all()
