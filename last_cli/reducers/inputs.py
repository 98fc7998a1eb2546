"""The sequences that the states are measured on: of a task, of a file, or random. Never their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from last_cli import registry
from last_cli.errors import DataError, UsageError
from last_cli.loading import Checkpoint
from last_cli.results import Progress
from last_cli.shapes import Float, Int
from last_cli.spec import read_spec


@dataclass(frozen=True, eq=False)
class Inputs:
    """Input sequences without labels.

    Attributes:
        x: tokens or features.
        lengths: steps of each sequence that are no padding; None where nothing is padded.
        source: for reports and the stamp: where they come from, and how they were chosen.
    """

    x: Int[np.ndarray, "n L"] | Float[np.ndarray, "n L d"]
    lengths: Int[np.ndarray, " n"] | None
    source: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 over the sequences and their lengths."""
        total = hashlib.sha256()
        for array in (self.x, self.lengths):
            if array is not None:
                total.update(f"{array.dtype} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
        return f"sha256:{total.hexdigest()}"


def from_task(
    checkpoint: Checkpoint,
    task: str,
    count: int,
    *,
    split: str = "val",
    data_dir: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inputs:
    """`count` sequences of a task's validation split, drawn by the seed; all of it where it has fewer.

    Raises:
        DataError: the task's files are missing.
        UsageError: an unknown task, or the test split, which is for judging alone.
    """
    if split == "test":
        raise UsageError("the test split is asked for calibration", "take val or train: what judges must not choose")
    said = checkpoint.stamp.get("task") or {}
    settings = dict(said) if said.get("name") == task else {}
    tell = (lambda done, total: progress(f"load {task}", done, total)) if progress else None
    data = registry.get("tasks", task).load(
        split, data_dir=Path(data_dir) if data_dir else None, settings=settings, progress=tell
    )
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data.x))[: _positive(count)])
    lengths = None if data.lengths is None else data.lengths[chosen]
    source = {"task": task, "split": split, "seed": seed, "sequences": len(chosen), "of": len(data.x)}
    return Inputs(data.x[chosen], lengths, source)


def from_file(path: str | Path, count: int | None = None, *, seed: int = 0) -> Inputs:
    """`count` sequences of an .npz file, drawn by the seed: `x`, and `lengths` where they are padded.

    Raises:
        DataError: there is no such file, or it is not what it should be.
    """
    hint = "np.savez(path, x=tokens) with tokens (n, length), or features (n, length, d); lengths=(n,) where padded"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, lengths = arrays["x"], arrays.get("lengths")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: no calibration sequences can be read: {error}", hint) from error
    tokens = np.issubdtype(x.dtype, np.integer)
    if x.ndim != (2 if tokens else 3) or not len(x) or (lengths is not None and lengths.shape != (len(x),)):
        raise DataError(f"{path}: x is {x.dtype} of shape {x.shape}, lengths {np.shape(lengths)}", hint)
    if not np.isfinite(x).all():
        raise DataError(f"{path}: x has values that are not finite", hint)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[: len(x) if count is None else _positive(count)])
    source = {"file": str(path), "seed": seed, "sequences": len(chosen), "of": len(x)}
    x = x.astype(np.int32 if tokens else np.float32)[chosen]
    return Inputs(x, None if lengths is None else lengths.astype(np.int32)[chosen], source)


def random(checkpoint: Checkpoint, count: int, *, length: int | None = None, seed: int = 0) -> Inputs:
    """Sequences that say nothing of the data but its type: uniform tokens, or features of N(0, 1).

    They are tokens where the checkpoint's stamp names a vocabulary. The length is the trained one, where the stamp or
    its task tells it.

    Raises:
        UsageError: no length is given, and nothing tells the trained one.
    """
    spec = read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)
    said = checkpoint.stamp.get("task") or {}
    length = length or _trained_length(said)
    rng = np.random.default_rng(seed)
    tokens = bool(said.get("vocabulary"))
    shape = (_positive(count), length)
    if tokens:
        x = rng.integers(spec.d_input, size=shape, dtype=np.int32)
    else:
        x = rng.normal(size=(*shape, spec.d_input)).astype(np.float32)
    source = {"random": "tokens" if tokens else "features", "length": length, "seed": seed, "sequences": count}
    return Inputs(x, None, source)


def _trained_length(said: Mapping[str, Any]) -> int:
    if isinstance(said.get("length"), int):
        return said["length"]
    try:
        return registry.get("tasks", said.get("name", "")).load("val", settings=dict(said), limit=1).length
    except (DataError, UsageError) as error:
        raise UsageError(
            "the checkpoint does not say on sequences of which length it was trained",
            "give the length for random inputs, or calibration sequences of a task or file",
        ) from error


def _positive(count: int) -> int:
    if count < 1:
        raise UsageError(f"calibration is {count}, expected a positive number of sequences", "256 are enough")
    return count
