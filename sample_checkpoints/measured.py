"""What a checkpoint answers after every pruning of safe_ratio.py, measured once and kept in a folder.

A file holds which answers of the test split are right after one pruning, so that every difference stays paired; a run
that is started again takes what is there. Files of another checkpoint of the same name are refused; those of an older
program are not known as such: take another folder after the methods have changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import series

import last_cli as last
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.evaluate import follow_task
from last_cli.evaluation.inputs import Inputs
from last_cli.pruning.calibration.measurements import logits
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.method import Plan
from last_cli.pruning.prune import prepare
from last_cli.pruning.recipe import recipe
from last_cli.pruning.tune.plan import Length
from last_cli.pruning.tune.sequences import Sequences
from last_cli.pruning.tune.tune import tune
from last_cli.tasks.task import Split

HERE = Path(__file__).parent
TASKS = {
    "s5-listops": "listops",
    "s4d-listops": "listops",
    "s5-digits": "digits",
    "s5-one-listops": "listops",
    "s5-last-watch": "watch",
    "s5-one-digits": "digits",
    "s5-single-vowels": "vowels",
    "s5-single-watch": "watch",
    "s4d-watch": "watch",
    "s4d-one-digits": "digits",
}
CALIBRATION = 256
DRAWS = 5
"""Of ListOps' generated test split, by other seeds: one has 2,000 expressions, and errors nearly as large as losses."""
UNPRUNED = "unpruned"
# Criterion or method, and whether it is given calibration sequences.
METHODS: Mapping[str, tuple[str, bool]] = {
    "last": ("last", False),
    "aire": ("aire", False),
    "gn": ("gn", True),
    "reconstruct, data-free": ("reconstruct", False),
    "reconstruct, calibrated": ("reconstruct", True),
}
SEEDED = ("reconstruct, data-free", "reconstruct, calibrated")
TUNED = ", tuned"


@dataclass(frozen=True)
class Cell:
    """One pruning: a method of METHODS, with TUNED behind it or not; unpruned at ratio 0."""

    method: str
    ratio: float = 0.0
    seed: int = 0

    @property
    def file(self) -> str:
        """Its name in the folder of its model."""
        method = self.method.replace(", ", "-")
        return f"{method}-{self.ratio:g}-{self.seed}.npz"


@dataclass(frozen=True, eq=False)
class Model:
    """A checkpoint that is measured, the folder of what it answered, and where files of series are written."""

    name: str
    path: Path
    folder: Path

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The unpruned one, with `padded` as its task has it."""
        return follow_task(last.load(self.path), self._test(self._settings))

    def right(self, cell: Cell) -> dict[str, np.ndarray]:
        """Which test sequences are answered rightly, by the splits' labels; measured if it was not yet."""
        path = self.folder / self.name / cell.file
        if path.exists():
            with np.load(path) as found:
                if str(found["checkpoint"]) != self.checkpoint.digest:
                    raise SystemExit(f"error: {path} is of another checkpoint\nhint: name another folder by --work")
                return {label: found[f"right{label}"] for label in found["labels"]}
        began, pruned = time.perf_counter(), self._pruned(cell)
        seconds = time.perf_counter() - began
        right = {label: judge(pruned) for label, judge in self._judges.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        arrays: dict[str, Any] = {f"right{label}": values for label, values in right.items()}
        np.savez(part, checkpoint=self.checkpoint.digest, labels=list(right), seconds=seconds, **arrays)
        part.replace(path)
        return right

    def has(self, cell: Cell) -> bool:
        """Whether it was measured."""
        return (self.folder / self.name / cell.file).exists()

    def answered(self, checkpoint: Checkpoint) -> np.ndarray:
        """Which sequences of the test split a checkpoint of the same shapes answers rightly."""
        return self._judges[""](checkpoint)

    @property
    def calibration(self) -> Calibration:
        """CALIBRATION sequences of the validation split."""
        if (files := self._files) is not None:
            return Calibration(CALIBRATION, calibration_file=files["val"])
        return Calibration(CALIBRATION, TASKS[self.name])

    def plan(self, cell: Cell) -> Plan:
        """What the method measures, whatever the ratio; kept."""
        if (key := (cell.method, cell.seed)) not in self._plans:
            name, calibrated = METHODS[cell.method]
            length = series.LENGTHS.get(TASKS[self.name]) if name == "reconstruct" else None
            given = self.calibration if calibrated else Calibration(length=length)
            self._plans[key] = prepare(self.checkpoint, recipe(name, seed=cell.seed), given)
        return self._plans[key]

    def _pruned(self, cell: Cell) -> Checkpoint:
        if cell.method == UNPRUNED:
            return self.checkpoint
        untuned = replace(cell, method=cell.method.removesuffix(TUNED))
        small = self.plan(untuned).at(cell.ratio, draft=True).checkpoint
        if untuned == cell:
            return small
        files = self._files
        sequences = Sequences(task=TASKS[self.name]) if files is None else Sequences(file=files["train"])
        return tune(small, self.checkpoint, sequences, Length(seed=cell.seed))

    @cached_property
    def _plans(self) -> dict[tuple[str, int], Plan]:
        return {}

    @cached_property
    def _judges(self) -> dict[str, Callable[[Checkpoint], np.ndarray]]:
        """By label: which sequences of a split a checkpoint answers rightly."""
        short = self._test(self._settings, DRAWS)
        judges = {"": _judge(short)}
        if short.vocabulary:
            return judges | {" 3x": _judge(self._test(_longer(self._settings)))}
        lengths = None if short.lengths is None else 3 * short.lengths
        longer = replace(short, length=3 * short.length, lengths=lengths)
        judges[" 3x"] = _judge(replace(longer, x=np.repeat(short.x, 3, axis=1)), 1 / 3)
        if short.lengths is None and TASKS[self.name] == "digits":
            judges[" 3x tiled"] = _judge(replace(longer, x=np.tile(short.x, (1, 3, 1))))
        return judges

    @property
    def _settings(self) -> dict[str, object]:
        return dict(last.load(self.path).stamp.get("task", {}))

    def _test(self, settings: dict[str, object], draws: int = 1) -> Split:
        """The test split; of ListOps so many draws of it, one behind the other."""
        task = TASKS[self.name]
        if task != "listops":
            return series.load(task, "test", settings)
        seeds = [int(str(settings["seed"])) + 1000 * draw for draw in range(draws)]
        parts = [series.load(task, "test", settings | {"seed": seed}) for seed in seeds]
        x, y, lengths = (np.concatenate([getattr(one, name)[:] for one in parts]) for name in ("x", "y", "lengths"))
        return replace(parts[0], x=x, y=y, lengths=lengths)

    @property
    def _files(self) -> dict[str, Path] | None:
        task = TASKS[self.name]
        return series.write(task, self.folder) if task in series.READ else None


def model(name: str, runs: Path, work: Path) -> Model:
    """A sample of this folder, else what train.py has written to RUNS/NAME."""
    path = HERE / name if (HERE / name).exists() else runs / name
    if not path.exists():
        train = f"python sample_checkpoints/train.py {name} --out {path}"
        raise SystemExit(f"error: there is no {path}\nhint: {train}")
    return Model(name, path, work)


def _judge(split: Split, rescale: float = 1.0) -> Callable[[Checkpoint], np.ndarray]:
    inputs = Inputs(split.x[:], split.lengths, {})

    def right(checkpoint: Checkpoint) -> np.ndarray:
        config = replace(checkpoint.config, step_rescale=rescale * checkpoint.config.step_rescale)
        return logits(replace(checkpoint, config=config), inputs).argmax(axis=1) == split.y

    return right


def _longer(settings: dict[str, object]) -> dict[str, object]:
    """Expressions of about three times as many tokens as the longest that it was trained on."""
    longest = int(str(settings["max_length"]))
    return settings | {"min_length": 2 * longest + 2, "max_length": 3 * longest, "length": 3 * longest + 1}
