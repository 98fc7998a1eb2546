"""A task that is a file for language models: a text, FILE.txt, or tokens, FILE.npz of x (n, length) without y.

Each token is predicted from those before it. A text is one sequence behind the token that ends texts, and a row of x is
one sequence whose first token is given. A sequence longer than the window is cut as lm-eval's `loglikelihood_rolling`
does: every window is full, the last too, and counts only what no window before has predicted.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.annotations import Int
from last_cli.base.arrays import digest
from last_cli.base.errors import DataError, UsageError
from last_cli.base.files import open_npz, regular
from last_cli.base.rows import Rows, Stored, blocks, stored_in
from last_cli.tasks.task import PERPLEXITY, Query, Split, Task, whole_number
from last_cli.tasks.tokenizer import read_text

WINDOW = 2048
OPTIONS = ("window", "stride")
HINT = (
    "write it with numpy.savez(FILE, x=x, lengths=lengths): x is tokens (n, length), one sequence per row, and lengths "
    "(n,) may be left out"
)


def language_task(name: str) -> Task | None:
    """The task of a text, or of a file of tokens without classes; None where it is another file."""
    path = Path(name).expanduser()
    if path.suffix == ".txt":
        read = partial(_read_text, path)
    elif _has_tokens_alone(path):
        read = partial(_read_tokens, path)
    else:
        return None
    said = f"the next token in {name}"
    return Task(name, version=1, summary=said, read=read, metric=PERPLEXITY, selection_split="test", options=OPTIONS)


@dataclass(frozen=True, eq=False)
class Windows:
    """Parts of sequences: tokens from `starts` to before `stops`, of whose predictions the first `skips` do not count.

    A part of k tokens makes k - 1 predictions.
    """

    rows: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " n"]
    stops: Int[np.ndarray, " n"]
    skips: Int[np.ndarray, " n"]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """Tokens of each."""
        return self.stops - self.starts

    @property
    def counted(self) -> Int[np.ndarray, " n"]:
        """Predictions of each that count."""
        return self.lengths - 1 - self.skips


def windows(lengths: Int[np.ndarray, " rows"], window: int, stride: int) -> Windows:
    """The windows of sequences, each prediction counted once.

    Args:
        lengths: tokens of each sequence; the first is given, the others are predicted.
        window: tokens that are read at most.
        stride: predictions that every window but the first of a sequence counts at most.
    """
    found = {int(count): _of_one(int(count) - 1, window, stride) for count in np.unique(lengths)}
    parts = [found[int(count)] for count in lengths]
    rows = np.repeat(np.arange(len(lengths)), [len(part[0]) for part in parts])
    starts, stops, skips = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Windows(rows, starts, stops, skips)


def _of_one(predictions: int, window: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, stops and skips in a sequence of one token more than predictions."""
    later = -(-max(predictions - window, 0) // stride)
    ends = np.minimum(window + stride * np.arange(later + (predictions > 0)), predictions)
    before = np.concatenate([[0], ends])[:-1]
    starts = np.maximum(ends - window, 0)
    return starts, ends + 1, before - starts


def _read_text(path: Path, query: Query) -> Split:
    _check(path, query)
    window, stride = _extent(query)
    text = read_text(path, query.model)
    found = windows(np.array([len(text.tokens)]), window, stride)
    digests = {"text": text.digest, "tokens": _digest(text.tokens), "tokenizer": text.tokenizer}
    note = f"this is the text of {path}, in the tokens of {text.by}"
    width = int(text.tokens.max()) + 1
    split = _split(text.tokens[None], found, width, note, window=window, stride=stride, digests=digests)
    return replace(split, text=text.counts(found.stops - 1))


def _read_tokens(path: Path, query: Query) -> Split:
    _check(path, query)
    window, stride = _extent(query)
    x, lengths = _arrays(path)
    width = 1 + _largest(path, x, lengths)
    found = windows(lengths, window, stride)
    if not len(found.rows):
        raise DataError(f"{path}: no row of x has a second token to predict", HINT)
    padded = [lengths] if (lengths < x.shape[1]).any() else []
    digests = {"text": None, "tokens": _digest(x, *padded), "tokenizer": None}
    note = f"these are the tokens in {path}"
    return _split(x, found, width, note, window=window, stride=stride, digests=digests)


def _split(x: np.ndarray | Stored, found: Windows, vocabulary: int, note: str, **said: Any) -> Split:
    """The windows of the sequences in x, padded to one width."""
    width = int(found.lengths.max())

    def read(chosen: Int[np.ndarray, " k"]) -> np.ndarray:
        """Windows of one width; padding is a token that every vocabulary has, as nothing reads it."""
        inside = np.arange(width) < found.lengths[chosen, None]
        columns = np.where(inside, found.starts[chosen, None] + np.arange(width), 0)
        return np.where(inside, x[found.rows[chosen, None], columns], 0).astype(np.int32)

    return Split(
        x=Rows(read, (len(found.rows), width), np.dtype(np.int32)),
        y=found.skips.astype(np.int32),
        lengths=None if (found.lengths == width).all() else found.lengths.astype(np.int32),
        source="arrays",
        classes=0,
        length=width,
        vocabulary=None,
        note=note,
        asks="tokens",
        weights=found.counted.astype(np.int32),
        width=vocabulary,
        said=said,
    )


def _has_tokens_alone(path: Path) -> bool:
    """Whether it is an archive of x without y; what cannot be read is no such one, and whoever reads it says why."""
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            names = set(archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return "x.npy" in names and "y.npy" not in names


def _check(path: Path, query: Query) -> None:
    if query.split != "test":
        raise UsageError(f"{path} holds one split, and '{query.split}' is asked for", "leave out ⟦split⟧")
    if query.data_dir is not None:
        raise UsageError(f"the task is the file {path}, and reads no data directory", "leave out ⟦data_dir⟧")


def _extent(query: Query) -> tuple[int, int]:
    for name in ("window", "stride"):
        if (value := query.settings.get(name, 1)) < 1:
            raise UsageError(f"⟦{name}⟧ is {value}, expected at least 1 token", f"leave out ⟦{name}⟧ for its default")
    window = whole_number(query.settings, "window", WINDOW, minimum=1)
    stride = whole_number(query.settings, "stride", window, minimum=1)
    if stride > window:
        raise UsageError(
            f"⟨stride⟩ is {stride} and ⟨window⟩ {window}: tokens between the windows would not be predicted",
            f"give a ⟦stride⟧ of at most {window}",
        )
    return window, stride


def _arrays(path: Path) -> tuple[np.ndarray | Stored, np.ndarray]:
    """The tokens (n, L), and of each row how many are no padding."""
    try:
        with open_npz(path) as archive:
            x = stored_in(path, "x")
            x = archive["x"] if x is None else x
            lengths = archive["lengths"] if "lengths" in archive.files else None
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", HINT) from error
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot read {path}: {error}", HINT) from error
    if x.dtype.kind not in "iu" or x.ndim != 2 or not x.size:
        raise DataError(
            f"{path}: expected x to be tokens, whole numbers (n, length), found {x.dtype} of shape {x.shape}; features "
            "need the classes y",
            HINT,
        )
    if lengths is None:
        return x, np.full(len(x), x.shape[1])
    if lengths.dtype.kind not in "iu" or lengths.shape != (len(x),):
        raise DataError(
            f"{path}: expected lengths to be whole numbers of shape ({len(x)},), found {lengths.dtype} of shape "
            f"{lengths.shape}",
            HINT,
        )
    if lengths.min() < 1 or lengths.max() > x.shape[1]:
        raise DataError(
            f"{path}: expected lengths from 1 to {x.shape[1]}, found {lengths.min()} to {lengths.max()}", HINT
        )
    return x, lengths.astype(np.int64)


def _largest(path: Path, x: np.ndarray | Stored, lengths: Int[np.ndarray, " n"]) -> int:
    """The largest token, of those that are no padding."""
    first, low, high = 0, 0, 0
    for block in blocks(x):
        own = block[np.arange(x.shape[1]) < lengths[first : first + len(block), None]]
        low, high, first = min(low, int(own.min())), max(high, int(own.max())), first + len(block)
    if low < 0 or high > np.iinfo(np.int32).max:
        raise DataError(
            f"{path}: expected tokens from 0 to {np.iinfo(np.int32).max}, found {low} to {high}",
            "padding is what lengths leave out, whatever number it has",
        )
    return high


def _digest(*arrays: np.ndarray | Stored) -> str:
    return f"sha256:{digest(('', array) for array in arrays).hex()}"
