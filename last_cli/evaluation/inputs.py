"""The sequences that the states are measured on: of a task, of a file, or random. Never their labels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.errors import DataError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.lti.network.spec import ModelSpec, read_spec
from last_cli.results.source import Progress
from last_cli.tasks.find import find

SEQUENCES = 256
HINT = (
    "np.savez(path, x=x) with tokens (n, length), tokens (n, 2, length) where a sample is two documents, or features "
    "(n, length, d); lengths=(n,) or (n, 2) where padded"
)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Input sequences without labels.

    Attributes:
        x: tokens or features, or the tokens of two documents a sample.
        lengths: steps of each sequence, or document, that are no padding; None where nothing is padded.
        source: for reports and the stamp: where they come from, and how they were chosen.
    """

    x: Int[np.ndarray, "n L"] | Int[np.ndarray, "n 2 L"] | Float[np.ndarray, "n L d"]
    lengths: Int[np.ndarray, " n"] | Int[np.ndarray, "n 2"] | None
    source: Mapping[str, Any]

    @property
    def samples(self) -> tuple[int, ...]:
        """(n,), or (n, 2) where a sample is two documents: the axes of x before its steps."""
        return self.x.shape[:-1] if np.issubdtype(self.x.dtype, np.integer) else self.x.shape[:1]

    @property
    def documents(self) -> int:
        """How many sequences a sample has."""
        return math.prod(self.samples[1:])

    @property
    def length(self) -> int:
        """Steps of a sequence, with its padding."""
        return self.x.shape[len(self.samples)]

    @property
    def are_data(self) -> bool:
        """Whether they come from a task or a file, and were not made."""
        return "random" not in self.source

    @property
    def digest(self) -> str:
        """SHA-256 over the sequences and their lengths."""
        total = hashlib.sha256()
        for array in (self.x, self.lengths):
            if array is not None:
                total.update(f"{array.dtype} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
        return f"sha256:{total.hexdigest()}"


@dataclass(frozen=True)
class Asked:
    """Which sequences are asked for: so many of a task or of a file; with none of these, none.

    Attributes:
        calibration: how many; by default SEQUENCES of a task, and all of a file.
        task: by default, where a number is given, the one that the checkpoint was trained on.
        calibration_file: an .npz file, see `from_file`.
        data_dir: where the task's files are.
    """

    calibration: int | None = None
    task: str | None = None
    calibration_file: str | Path | None = None
    data_dir: str | Path | None = None

    @property
    def options(self) -> list[str]:
        """The options that are given, as errors name them."""
        return [f"⟦{name}⟧" for name, value in vars(self).items() if value is not None]

    def read(
        self, checkpoint: Checkpoint, *, skip: int = 0, seed: int = 0, progress: Progress | None = None
    ) -> Inputs | None:
        """The sequences, after the first `skip` that the seed draws; None where none are asked for.

        Raises:
            DataError: they cannot be read.
            UsageError: what is given does not go together, or does not say enough.
        """
        count, task, file = self.calibration, self.task, self.calibration_file
        if file is not None:
            if task is not None or self.data_dir is not None:
                raise UsageError("⟦calibration_file⟧ and ⟦task⟧ are both given", "take the sequences from one of them")
            return from_file(file, count, skip=skip, seed=seed)
        task = task or (checkpoint.task.get("name") if count is not None else None)
        if task is not None:
            count = SEQUENCES if count is None else count
            return from_task(checkpoint, task, count, skip=skip, data_dir=self.data_dir, seed=seed, progress=progress)
        if count is not None or self.data_dir is not None:
            raise UsageError(
                "⟦calibration⟧ says how many sequences, but not of what", "add ⟦task⟧ or ⟦calibration_file⟧"
            )
        return None


def from_task(
    checkpoint: Checkpoint,
    task: str,
    count: int,
    *,
    split: str | None = None,
    skip: int = 0,
    data_dir: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inputs:
    """`count` sequences of a task's validation split, drawn by the seed; all of it where it has fewer.

    Where a task validates on its test data, they are of the training split. `skip` leaves out so many that the seed
    draws first, if that leaves any.

    Raises:
        DataError: the task's files are missing.
        UsageError: an unknown task, or the test split, which is for judging alone.
    """
    if split == "test":
        raise UsageError("the test split is asked for calibration", "take val or train: what judges must not choose")
    source = find(task)
    split = split or source.selection_split or "train"
    data = source.load(
        split,
        data_dir=Path(data_dir) if data_dir else None,
        settings=checkpoint.task_settings(task),
        progress=progress,
    )
    chosen, drawn = _draw(len(data.x), count, seed, skip)
    lengths = None if data.lengths is None else data.lengths[chosen]
    return Inputs(data.x[chosen], lengths, {"task": task, "split": split, **drawn})


def from_file(path: str | Path, count: int | None = None, *, skip: int = 0, seed: int = 0) -> Inputs:
    """`count` sequences of an .npz file, drawn by the seed: `x`, and `lengths` where they are padded.

    Tokens of three axes are two documents a sample. `skip` leaves out so many that the seed draws first, if that leaves
    any.

    Raises:
        DataError: there is no such file, or it is not what it should be.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, lengths = arrays["x"], arrays.get("lengths")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: no calibration sequences can be read: {error}", HINT) from error
    tokens = np.issubdtype(x.dtype, np.integer)
    pairs = tokens and x.ndim == 3 and x.shape[1] == 2
    fits = x.size and (pairs or x.ndim == (2 if tokens else 3))
    samples = x.shape[: 2 if pairs else 1]
    if not fits or (lengths is not None and lengths.shape != samples):
        raise DataError(f"{path}: x is {x.dtype} of shape {x.shape}, lengths {np.shape(lengths)}", HINT)
    if not np.isfinite(x).all():
        raise DataError(f"{path}: x has values that are not finite", HINT)
    steps = x.shape[len(samples)]
    if lengths is not None and not (lengths.min() >= 1 and lengths.max() <= steps):
        raise DataError(f"{path}: lengths are {lengths.min()} to {lengths.max()}, expected 1 to {steps} steps", HINT)
    chosen, drawn = _draw(len(x), len(x) if count is None else count, seed, skip)
    x = x.astype(np.int32 if tokens else np.float32)[chosen]
    lengths = None if lengths is None else lengths.astype(np.int32)[chosen]
    return Inputs(x, lengths, {"file": str(path), **drawn})


def random(checkpoint: Checkpoint, count: int, *, length: int | None = None, seed: int = 0) -> Inputs:
    """Sequences that say nothing of the data but its type: uniform tokens, or features of N(0, 1).

    They are tokens where the checkpoint's stamp names a vocabulary, or a sample is two documents. The length is the
    trained one, where the stamp or its task tells it.

    Raises:
        UsageError: no length is given, and nothing tells the trained one.
    """
    spec = read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)
    length = length or trained_length(checkpoint)
    rng = np.random.default_rng(seed)
    pairs = spec.documents > 1
    tokens = pairs or bool(checkpoint.task.get("vocabulary"))
    shape = (positive(count), spec.documents, length) if pairs else (positive(count), length)
    if tokens:
        x = rng.integers(spec.d_input, size=shape, dtype=np.int32)
    else:
        x = rng.normal(size=(*shape, spec.d_input)).astype(np.float32)
    source = {"random": "tokens" if tokens else "features", "length": length, "seed": seed, "sequences": count}
    return Inputs(x, None, source)


def check_fit(inputs: Inputs, spec: ModelSpec) -> None:
    """Raises DataError where the model does not take such sequences."""
    x, source = inputs.x, inputs.source
    where = source.get("file") or source.get("task") or "the calibration sequences"
    if inputs.documents != spec.documents:
        wanted = ("one sequence a sample", "two documents a sample: x of whole numbers (n, 2, length)")
        raise DataError(
            f"{where}: x is {x.dtype} of shape {x.shape}, but the model takes {wanted[spec.documents - 1]}", HINT
        )
    tokens = np.issubdtype(x.dtype, np.integer)
    found = f"the tokens {x.min()} to {x.max()}" if tokens else f"{x.shape[-1]} features a step"
    if (x.min() < 0 or x.max() >= spec.d_input) if tokens else x.shape[-1] != spec.d_input:
        raise DataError(
            f"{where}: {found}, but the encoder takes {spec.d_input} {'tokens, from 0' if tokens else 'features'}",
            "calibrate on sequences like those that the checkpoint was trained on",
        )


def _draw(total: int, count: int, seed: int, skip: int) -> tuple[np.ndarray, dict[str, int]]:
    """Which sequences are taken, and what to say of it."""
    first = skip if skip < total else 0
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[first : first + positive(count)])
    said = {"seed": seed, "sequences": len(chosen), "of": total}
    return chosen, said | ({"skipped": first} if first else {})


def trained_length(checkpoint: Checkpoint) -> int:
    """Steps of the sequences that it was trained on, as the stamp or its task tells.

    Raises:
        UsageError: nothing does.
    """
    said = checkpoint.task
    if isinstance(said.get("length"), int):
        return said["length"]
    try:
        return find(said.get("name", "")).load("val", settings=said, limit=1).length
    except (DataError, UsageError) as error:
        raise UsageError(
            "the checkpoint does not say on sequences of which length it was trained",
            "give the length for random inputs, or calibration sequences of a task or file",
        ) from error


def positive(count: int) -> int:
    """The count itself; raises UsageError where it is none."""
    if count < 1:
        raise UsageError(f"calibration is {count}, expected a positive number of sequences", "256 are enough")
    return count
