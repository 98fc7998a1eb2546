"""The published files of AAN pairs, new_aan_pairs.{train,eval,test}.tsv of lra_release: label, two names, two texts."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from last_cli.base.errors import DataError
from last_cli.base.files import regular
from last_cli.tasks.task import Advance

NESTED = (".", "tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data")
HINT = "unpack https://storage.googleapis.com/long-range-arena/lra_release.gz (tar -xf)"
COLUMNS = 5


def file_name(split: str) -> str:
    """What the file of a split is called."""
    return f"new_aan_pairs.{'eval' if split == 'val' else split}.tsv"


def read_rows(path: Path, advance: Advance) -> Iterator[tuple[int, str, str]]:
    """Label and both texts of every row. Quotes mean what they mean in CSV, as to the reader of the S5 code.

    Raises:
        DataError: the file cannot be read, or a row is damaged.
    """
    size, done, rows = path.stat().st_size, 0, 0
    try:
        with _long_fields(), regular(path).open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, delimiter="\t")
            for row in reader:
                if not row:
                    continue
                yield _row(path, reader.line_num, row)
                rows += 1
                done += sum(map(len, row)) + COLUMNS
                if rows % 100 == 0:
                    advance(min(done, size), size)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}", HINT) from error
    if rows == 0:
        raise DataError(f"{path}: expected rows of data, found none", HINT)
    advance(size, size)


def _row(path: Path, line: int, row: list[str]) -> tuple[int, str, str]:
    if len(row) != COLUMNS:
        raise DataError(f"{path}, line {line}: expected {COLUMNS} columns separated by a tab, found {len(row)}", HINT)
    label, _, _, one, other = row
    try:
        value = float(label)
    except ValueError:
        value = None
    if value not in (0, 1):
        raise DataError(f"{path}, line {line}: expected a label of 0 or 1, found {label[:80]!r}", HINT)
    if not one or not other:
        raise DataError(f"{path}, line {line}: expected two texts, found an empty one", HINT)
    return int(value), one, other


@contextmanager
def _long_fields() -> Iterator[None]:
    """Papers may be longer than the 131,072 characters that the csv module allows, for the whole program."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
