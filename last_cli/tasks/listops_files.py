"""The published ListOps files, basic_train.tsv, basic_val.tsv and basic_test.tsv of lra_release.

Tokens and vocabulary are those of the S5 code (s5/dataloaders/lra.py), so that its checkpoints meet the numbers
they were trained on.
"""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from last_cli.base.cache import Arrays
from last_cli.base.errors import DataError
from last_cli.base.files import regular
from last_cli.tasks.task import Advance
from last_cli.tasks.tokens import UNKNOWN, build_vocabulary

HEADER = ["Source", "Target"]
CLASSES = 10
LABELS = frozenset(str(label) for label in range(CLASSES))
HINT = (
    "unpack https://storage.googleapis.com/long-range-arena/lra_release.gz (tar -xf) and name its folder "
    "with ⟦data_dir⟧, or leave that out to use the generated split"
)

# Where the files lie, seen from the folder that a user is likely to name.
NESTED = (".", "listops-1000", "lra_release/listops-1000", "lra_release/lra_release/listops-1000")
_TO_TOKENS = str.maketrans({"]": "X", "(": None, ")": None})


def file_name(split: str) -> str:
    """What the file of a split is called."""
    return f"basic_{split}.tsv"


def find_folder(data_dir: Path, splits: set[str]) -> Path | None:
    """The folder in or under `data_dir` that has the files of all `splits`."""
    folders = [data_dir / nested for nested in NESTED]
    return next((f for f in folders if all((f / file_name(split)).is_file() for split in splits)), None)


def missing_files(data_dir: Path, splits: set[str]) -> DataError:
    """The error that names every path looked for."""
    wanted = [file_name(split) for split in sorted(splits)]
    paths = [str(data_dir / nested / name) for nested in NESTED for name in wanted]
    why = " (the vocabulary is counted in the training file)" if len(splits) > 1 else ""
    return DataError(f"found no folder with {', '.join(wanted)}{why}, looked for {', '.join(paths)}", HINT)


def read_vocabulary(path: Path, longest: int, advance: Advance) -> tuple[str, ...]:
    """The vocabulary of a training file: specials, then tokens by falling frequency, ties in string order.

    Sequences count up to `longest` tokens, as they are cut there before they are numbered.
    """
    counts: Counter[str] = Counter()
    for tokens, _ in _rows(path, advance):
        counts.update(tokens[:longest])
    return build_vocabulary(counts)


def read_split(path: Path, vocabulary: tuple[str, ...], advance: Advance) -> Arrays:
    """`tokens` of all sequences one after the other, as numbers, with `lengths` and `labels`."""
    numbers = _Numbers({token: i for i, token in enumerate(vocabulary)})
    flat, lengths, labels = array("i"), array("i"), array("b")
    for tokens, label in _rows(path, advance):
        flat.extend(map(numbers.__getitem__, tokens))
        lengths.append(len(tokens))
        labels.append(label)
    compact = np.min_scalar_type(len(vocabulary))
    return {"tokens": np.array(flat, compact), "lengths": np.array(lengths), "labels": np.array(labels)}


class _Numbers(dict[str, int]):
    def __missing__(self, token: str) -> int:
        return self[UNKNOWN]


def _rows(path: Path, advance: Advance) -> Iterator[tuple[list[str], int]]:
    """Tokens and label of every row, checked."""
    size = path.stat().st_size
    rows = done = 0
    try:
        with regular(path).open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, delimiter="\t")
            header = next(reader, [])
            if header != HEADER:
                raise _damaged(path, 1, "the columns 'Source' and 'Target'", repr("\t".join(header)[:80]))
            for row in reader:
                if len(row) != 2:
                    raise _damaged(path, reader.line_num, "2 columns separated by a tab", str(len(row)))
                source, target = row
                if target not in LABELS:
                    raise _damaged(path, reader.line_num, "a label from 0 to 9", repr(target[:80]))
                tokens = source.translate(_TO_TOKENS).split()
                if not tokens:
                    raise _damaged(path, reader.line_num, "a ListOps expression", "an empty one")
                yield tokens, int(target)
                rows += 1
                done += len(source) + 3  # a tab, a digit and the end of the line; all is ASCII
                if rows % 1000 == 0:
                    advance(min(done, size), size)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}", HINT) from error
    if rows == 0:
        raise _damaged(path, 2, "a row of data", "the end of the file")
    advance(size, size)


def _damaged(path: Path, line: int, expected: str, found: str) -> DataError:
    return DataError(f"{path}, line {line}: expected {expected}, found {found}", HINT)
