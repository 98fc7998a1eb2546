"""What a pruned checkpoint keeps, trained towards the network that it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from last_cli.base.progress import Progress
    from last_cli.checkpoint.checkpoint import Checkpoint
    from last_cli.evaluation.resume import Tell


def tune(
    checkpoint: Checkpoint | str | Path, teacher: Checkpoint | str | Path, *, task: str | None = None,
    calibration_file: str | Path | None = None, data_dir: str | Path | None = None, split: str = "train",
    sequences: int = 8000, steps: int | None = None, minutes: float | None = None, seed: int = 0,
    device: str | None = None, resume: bool = False, progress: Progress | bool | None = True, tell: Tell | None = None,
) -> Checkpoint:  # fmt: skip
    """A pruned checkpoint with what it keeps trained towards the unpruned one's answers, in memory; `save` writes it.

    No label is read. Poles, steps, B and C of the states change, all else stays bit-equal, but for the moments of an
    optimizer that belong to them, which become zero. One in eight sequences is held out: the result is never worse
    there than the start.

    Args:
        checkpoint: what is tuned, an open one or its path: S5, S4D or LRU, in any parameterisation.
        teacher: the checkpoint that it was pruned from, or its path.
        task: whose sequences, by default those of the task that it was trained on.
        calibration_file: or a file of them, whatever they are: .npz of x and, where padded, lengths.
        data_dir: where the task's files are.
        split: of the task: "train" or "val", never "test".
        sequences: how many at most; a few hundred are soon learned by heart.
        steps: how many at most, by default 4,000.
        minutes: or as many as fit into these.
        seed: of the sequences that are drawn, and of their order.
        device: "cpu", "gpu" or "tpu"; by default what JAX prefers.
        resume: take up what an interrupted run of the same tuning left.
        progress: False shows none; or what is called with what is being done, and how much of it is done.
        tell: called with a line for the user, and its kind.

    Returns:
        The tuned checkpoint. Its `tuned` says what was done.

    Raises:
        CheckpointError: one of the two is no network that can run, or answers with numbers that are not finite.
        DataError: the sequences cannot be read, or do not fit the network.
        UsageError: layers that are no linear systems, a teacher of another network, a test split, or nothing that says
            which sequences.
    """
    from last_cli.api.progress import shown
    from last_cli.checkpoint.checkpoint import opened
    from last_cli.pruning.tune import tune as tuning
    from last_cli.pruning.tune.plan import Length
    from last_cli.pruning.tune.sequences import Sequences

    inputs = Sequences(sequences, task, calibration_file, data_dir, split, device)
    length = Length(steps, minutes, seed)
    one, other = opened(checkpoint), opened(teacher)
    with shown(progress) as bar:
        return tuning.tune(one, other, inputs, length, resume=resume, progress=bar, tell=tell)
