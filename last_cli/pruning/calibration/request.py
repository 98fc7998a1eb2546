"""Which sequences the units are to be observed on: so many of a task or of a file, without their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from last_cli.base.errors import DataError, UsageError
from last_cli.base.files import open_npz
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.guess import task_guesses
from last_cli.evaluation.inputs import HINT, SEQUENCES, Inputs, answers_tokens, positive, trained_length
from last_cli.tasks.task import Split

WINDOWS = 128
"""Of a text, which are 2,048 tokens each."""


@dataclass(frozen=True)
class Calibration:
    """So many sequences of a task or of a file; with no entry, none are asked for.

    Attributes:
        calibration: how many; by default SEQUENCES of a task, all of a file, and WINDOWS of a text.
        task: by default, where a number is given, the one that the checkpoint was trained on.
        calibration_file: an .npz file, see `from_file`; for language models a text or tokens, see tasks.language.
        data_dir: where the task's files are.
        length: steps of sequences that are made without data; by default as many as the trained ones have.
    """

    calibration: int | None = None
    task: str | None = None
    calibration_file: str | Path | None = None
    data_dir: str | Path | None = None
    length: int | None = None

    @property
    def options(self) -> list[str]:
        """The options that are given, as errors name them."""
        return [f"⟦{name}⟧" for name, value in vars(self).items() if value is not None]

    def read(self, checkpoint: Checkpoint, draw: Draw, progress: Progress | None = None) -> Inputs | None:
        """The sequences that are asked for; None where none are.

        Raises:
            DataError: they cannot be read.
            UsageError: what is given does not go together, or does not say enough.
        """
        count, task, file = self.calibration, self.task, self.calibration_file
        self._check_length(checkpoint)
        if file is not None:
            if task is not None or self.data_dir is not None:
                raise UsageError("⟦calibration_file⟧ and ⟦task⟧ are both given", "take the sequences from one of them")
            if answers_tokens(checkpoint):
                return from_task(checkpoint, str(file), count, draw, progress=progress)
            return from_file(file, count, draw)
        task = task or (checkpoint.task_name if count is not None else None)
        if task is not None:
            return from_task(checkpoint, task, count, draw, data_dir=self.data_dir, progress=progress)
        if count is not None or self.data_dir is not None:
            raise UsageError(
                "⟦calibration⟧ says how many sequences, but not of what", "add ⟦task⟧ or ⟦calibration_file⟧"
            )
        return None

    def inputs(self, checkpoint: Checkpoint, draw: Draw, progress: Progress | None = None) -> Inputs | None:
        """What is asked for, else sequences made without data.

        None where not even the trained length is known, and for language models: random tokens are no text.
        """
        found = self.read(checkpoint, draw, progress)
        if found is not None or answers_tokens(checkpoint):
            return found
        from last_cli.evaluation import synthetic

        try:
            length = self.length or trained_length(checkpoint)
        except UsageError:
            return None
        return synthetic.sequences(checkpoint, SEQUENCES, seed=draw.seed + (draw.skip > 0), length=length)

    def _check_length(self, checkpoint: Checkpoint) -> None:
        """Raises UsageError where a length is given that makes no sense, or beside sequences that have their own."""
        if self.length is None:
            return
        if self.length < 1:
            raise UsageError(f"⟦length⟧ is {self.length}, expected 1 step or more", "as many as the trained ones have")
        given = [f"⟦{name}⟧" for name in ("calibration", "task", "calibration_file") if getattr(self, name) is not None]
        if given or answers_tokens(checkpoint):
            why = f"{given[0]} names some" if given else "a language model is measured on text"
            raise UsageError(f"⟦length⟧ is that of sequences made without data, but {why}", "leave out ⟦length⟧")


@dataclass(frozen=True)
class Draw:
    """Which sequences of many are taken: a seed draws them, and the first `skip` are left out, if that leaves any."""

    seed: int = 0
    skip: int = 0

    def of(self, total: int, count: int) -> tuple[np.ndarray, dict[str, int]]:
        """Places of `count` out of `total` sequences, rising, and what to say of them."""
        first = self.skip if self.skip < total else 0
        chosen = np.sort(np.random.default_rng(self.seed).permutation(total)[first : first + positive(count)])
        said = {"seed": self.seed, "sequences": len(chosen), "of": total}
        return chosen, said | ({"skipped": first} if first else {})


def from_task(
    checkpoint: Checkpoint,
    task: str,
    count: int | None,
    draw: Draw = Draw(),
    *,
    split: str | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Inputs:
    """`count` sequences of a task's validation split, by default SEQUENCES or WINDOWS; all of it where it has fewer.

    Where a task validates on its test data, they are of the training split. A file of text or tokens, which is one
    split, is cut into windows as for evaluation.

    Raises:
        DataError: the task's files are missing.
        UsageError: an unknown task, or the test split, which is for judging alone.
    """
    if split == "test":
        raise UsageError("the test split is asked for calibration", "take val or train: what judges must not choose")
    from last_cli.tasks.find import find, split_of

    source = find(task)
    split = split or source.selection_split or "train"
    settings, model = checkpoint.task_settings(task), checkpoint.index.location.directory
    data = source.load(split, data_dir=data_dir, settings=settings, progress=progress, model=model)
    if data.asks == "tokens":
        return _windows(data, task, WINDOWS if count is None else count, draw)
    chosen, drawn = draw.of(len(data.x), SEQUENCES if count is None else count)
    lengths = None if data.lengths is None else data.lengths[chosen]
    guessed = tuple(task_guesses(checkpoint, task, data.source, data.length))
    return Inputs(data.x[chosen], lengths, {"task": task, "split": split_of(task, split), **drawn}, guesses=guessed)


def _windows(data: Split, file: str, count: int, draw: Draw) -> Inputs:
    """Windows of a text; what an earlier window has read as well does not count again."""
    chosen, drawn = draw.of(len(data.x), count)
    lengths = np.full(len(chosen), data.length) if data.lengths is None else data.lengths[chosen]
    width, skips = int(lengths.max()), data.y[chosen]
    source = {"file": file, **drawn, "tokens": int((lengths - skips).sum()), **data.said}
    padded = lengths.astype(np.int32) if (lengths < width).any() else None
    return Inputs(data.x[chosen][:, :width], padded, source, skips if skips.any() else None)


def from_file(path: str | Path, count: int | None = None, draw: Draw = Draw()) -> Inputs:
    """`count` sequences of an .npz file: `x`, and `lengths` where they are padded; by default all.

    Tokens of three axes are two documents a sample.

    Raises:
        DataError: there is no such file, or it is not what it should be.
    """
    try:
        with open_npz(path) as arrays:
            x, lengths = arrays["x"], arrays.get("lengths")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no calibration sequences can be read: {error}", HINT) from error
    tokens = np.issubdtype(x.dtype, np.integer)
    pairs = tokens and x.ndim == 3 and x.shape[1] == 2
    fits = x.size and x.dtype.kind in "biuf" and (pairs or x.ndim == (2 if tokens else 3))
    samples = x.shape[: 2 if pairs else 1]
    if not fits or (lengths is not None and (lengths.shape != samples or lengths.dtype.kind not in "iuf")):
        raise DataError(f"{path}: x is {x.dtype} of shape {x.shape}, lengths {np.shape(lengths)}", HINT)
    with np.errstate(over="ignore"):
        sequences = x.astype(np.int32 if tokens else np.float32)
    if not np.isfinite(sequences).all():
        raise DataError(f"{path}: x has values that are not finite, as float32", HINT)
    if tokens and not (sequences == x).all():
        raise DataError(f"{path}: x has the tokens {x.min()} to {x.max()}, more than any vocabulary", HINT)
    steps = x.shape[len(samples)]
    if lengths is not None and (broken := lengths[lengths % 1 != 0]).size:
        raise DataError(f"{path}: lengths has numbers such as {broken[0]}, expected whole ones", HINT)
    if lengths is not None and not (lengths.min() >= 1 and lengths.max() <= steps):
        raise DataError(f"{path}: lengths are {lengths.min()} to {lengths.max()}, expected 1 to {steps} steps", HINT)
    chosen, drawn = draw.of(len(x), len(x) if count is None else count)
    x = sequences[chosen]
    lengths = None if lengths is None else lengths.astype(np.int32)[chosen]
    return Inputs(x, lengths, {"file": str(path), **drawn})
