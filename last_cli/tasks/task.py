"""What a task is: a name, a version and a function that reads one of its splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.errors import DataError, UsageError
from last_cli.base.progress import Progress
from last_cli.base.rows import Rows

SPLITS = ("test", "val", "train")
FILE = "file"
"""What reports say instead where a task is one file, and has no splits."""
ACCURACY = "accuracy"
"""The metric that gates, budgets in points and sweeps speak of."""
PERPLEXITY = "perplexity"
"""The metric of texts."""

Answers = Literal["classes", "tokens"]
"""What a task asks for: the class of a sequence, or each of its tokens given those before."""

Advance = Callable[[int, int], None]
"""Called as `advance(done, total)` during long work, in units that differ from task to task."""


@dataclass(frozen=True, eq=False)
class Split:
    """The labelled sequences of one split.

    `x` is an array, or what is indexed like one and reads its rows when they are asked for: splits may be large.
    `x` has tokens (n, L), features (n, L, d), or the tokens of two documents a sample (n, 2, L), with both their
    `lengths`. `source` is "generated", "files", "bundled" or "arrays" (of the user); `note` tells the user in a plain
    sentence what this is.
    `lengths` counts the steps of each sequence that are no padding, and is None where nothing is padded.

    Where tokens are asked for, `y` is how many of a sequence's first predictions are not counted, `classes` is 0, and
    `weights` has how many are; elsewhere each sequence counts once, and `weights` is None. `text` has the words and
    bytes that they stand for, by "word" and "byte", where a text is behind them. `width` is how many tokens the
    vocabulary has at least, where that is known, and `said` what else reports say of the sequences.
    """

    x: Int[np.ndarray | Rows, "n L"] | Float[np.ndarray | Rows, "n L d"] | Int[np.ndarray | Rows, "n 2 L"]
    y: Int[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"] | Int[np.ndarray, "n 2"] | None
    source: str
    classes: int
    length: int
    vocabulary: tuple[str, ...] | None
    note: str
    asks: Answers = "classes"
    weights: Int[np.ndarray, " n"] | None = None
    text: Mapping[str, Int[np.ndarray, " n"]] = field(default_factory=dict)
    width: int | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> bool:
        """Whether `x` counts entries of a vocabulary, instead of being features."""
        return bool(np.issubdtype(self.x.dtype, np.integer))

    @property
    def documents(self) -> int:
        """How many sequences a sample has."""
        return self.x.shape[1] if self.tokens and self.x.ndim == 3 else 1


@dataclass(frozen=True, eq=False)
class Query:
    """What is asked of a task.

    Attributes:
        task: its name.
        split: one of SPLITS.
        data_dir: where the files are, as the user says; None leaves that to the task.
        settings: what a checkpoint's stamp says of its task, and options of the task that are given; what they do not
            say takes the task's defaults.
        progress: hears of long work.
        model: the checkpoint's directory, for what lies there besides its arrays: a tokenizer.
    """

    task: str
    split: str = "test"
    data_dir: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    model: Path | None = None

    def advance(self, done: int, total: int) -> None:
        """Tell how far the reading has come; see `Advance`."""
        if self.progress:
            self.progress(f"load {self.task}", done, total)


@dataclass(frozen=True)
class Task:
    """A named, versioned data set.

    Attributes:
        name: its name in the registry.
        version: raise it whenever a split changes for the same settings.
        summary: a line for `last list tasks`, without a full stop.
        read: the whole split that is asked for, always the same one. It raises UsageError for settings that make no
            sense, DataError for files that are missing or damaged.
        metric: what judges a model.
        selection_split: the split that a ratio may be chosen on; None where the validation data is the test data.
        options: names of the settings that a user may give.
        between: the least and the largest number that a feature can be, where the task says: those of pixels.
    """

    name: str
    version: int
    summary: str
    read: Callable[[Query], Split]
    metric: str = ACCURACY
    selection_split: str | None = "val"
    options: tuple[str, ...] = ()
    between: tuple[float, float] | None = None

    def load(
        self,
        split: str = "test",
        *,
        data_dir: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
        model: Path | None = None,
    ) -> Split:
        """The first `limit` sequences of a split, all of them by default; for the rest see `Query`.

        Raises:
            UsageError: an unknown split, a limit or a setting that makes no sense.
            DataError: the files are missing or damaged.
        """
        if split not in SPLITS:
            raise UsageError(f"task {self.name} has no ⟨split⟩ '{split}'", f"the splits are: {', '.join(SPLITS)}")
        if limit is not None and limit <= 0:
            raise UsageError(f"⟨limit⟩ is {limit}, expected a positive number of sequences", "leave it out to take all")
        found = self.read(
            Query(self.name, split, Path(data_dir) if data_dir else None, settings or {}, progress, model)
        )
        if not len(found.y):
            raise DataError(
                f"task {self.name}: the split '{split}' has no sequences", "name a folder with more of them"
            )
        return _first(found, limit)


def whole_number(settings: Mapping[str, Any], key: str, default: int, *, minimum: int) -> int:
    """The integer setting `key`, or its default.

    Raises:
        UsageError: it is no whole number, or below the minimum.
    """
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise UsageError(
            f"task setting '{key}' is {value!r}, expected a whole number of at least {minimum}",
            "correct the task settings in the checkpoint's config",
        )
    return int(value)


def take_turns(labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """An order in which the classes take turns and each keeps its own, so that no limit leaves a class alone.

    Data sets that come as a folder a class would otherwise begin with thousands of samples of the first.
    """
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    turn = np.empty(len(labels), np.int64)
    turn[by_class] = np.arange(len(labels)) - starts
    return np.lexsort((labels, turn))


def _first(split: Split, limit: int | None) -> Split:
    """The first `limit` sequences of a split, saying so in its note; all of them where `limit` is None."""
    n = len(split.y)
    if limit is None or limit >= n:
        return split
    return replace(
        split,
        x=split.x.head(limit) if isinstance(split.x, Rows) else split.x[:limit],
        y=split.y[:limit],
        lengths=None if split.lengths is None else split.lengths[:limit],
        weights=None if split.weights is None else split.weights[:limit],
        text={unit: counts[:limit] for unit, counts in split.text.items()},
        note=f"{split.note}; only the first {limit:,} of {n:,} sequences are used",
    )
