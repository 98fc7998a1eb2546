"""Which inputs are tuned on: so many of a task's training or validation split or of a file, without their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from last_cli.base import registry
from last_cli.base.errors import DataError, UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import HINT, Inputs
from last_cli.pruning.calibration.request import Draw, from_file, from_task
from last_cli.pruning.tune.plan import SEQUENCES

FEWEST = 2


@dataclass(frozen=True)
class Sequences:
    """Where the inputs come from.

    Attributes:
        count: how many at most.
        task: by default the one that the checkpoint was trained on.
        file: or an .npz file of x and lengths, whatever these are.
        data_dir: where the task's files are.
        split: of the task: "train" or "val".
        device: where the network runs: "cpu", "gpu" or "tpu", else what JAX prefers.
    """

    count: int = SEQUENCES
    task: str | None = None
    file: str | Path | None = None
    data_dir: str | Path | None = None
    split: str = "train"
    device: str | None = None

    def read(self, checkpoint: Checkpoint, seed: int, progress: Progress | None = None) -> Inputs:
        """The sequences, drawn by a seed where there are more.

        Raises:
            DataError: they cannot be read, or are too few to hold any out.
            UsageError: a test split, or nothing says which sequences.
        """
        if self.count < FEWEST:
            raise UsageError(
                f"⟦sequences⟧ is {self.count}, expected {FEWEST} or more: some are held out", "thousands are best"
            )
        found = self._read(checkpoint, Draw(seed), progress)
        if len(found.x) < FEWEST:
            raise DataError(f"{self.file or self.task}: has one sequence, and some are to be held out", HINT)
        return found

    def _read(self, checkpoint: Checkpoint, draw: Draw, progress: Progress | None) -> Inputs:
        if self.file is not None:
            if self.task is not None or self.data_dir is not None:
                raise UsageError("⟦calibration_file⟧ and ⟦task⟧ are both given", "take the sequences from one of them")
            return from_file(self.file, self.count, draw)
        task = self.task or checkpoint.task_name
        if task is None:
            raise UsageError(
                f"nothing says which inputs to tune on, nor on which {checkpoint.source.path} was trained",
                "add ⟦task T⟧, or ⟦calibration_file FILE.npz⟧ of x and lengths; labels are not read",
            )
        if task not in registry.names("tasks"):
            raise UsageError(
                f"⟦task {task}⟧ is no task of a training split",
                "`last list tasks` has those; inputs of your own: ⟦calibration_file FILE.npz⟧ of x and lengths",
            )
        if self.split == "test":
            raise UsageError("the test split is asked for, and tuned on", "take val or train: test judges alone")
        return from_task(
            checkpoint, task, self.count, draw, split=self.split, data_dir=self.data_dir, progress=progress
        )
