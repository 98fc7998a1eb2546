"""Pruned versions of one checkpoint, judged against it on the same sequences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.evaluate import chance, described, follow_task, warnings_on
from last_cli.evaluation.measure import Request, measure
from last_cli.evaluation.metrics import GATES, compare, expect
from last_cli.results.evaluation import Comparison, Increase, Measured
from last_cli.tasks.find import find
from last_cli.tasks.task import ACCURACY, Split


@dataclass(frozen=True, eq=False)
class Judge:
    """One split, and what the unpruned model answers there."""

    checkpoint: Checkpoint
    data: Split
    request: Request
    base: Measured

    def answers(self, pruned: Checkpoint, what: str = "pruned", progress: Progress | None = None) -> Measured:
        """A pruned version's answers; versions of the same shapes share one compiled program.

        Args:
            pruned: has the shapes of the checkpoint.
            what: what it is called in the progress.
            progress: called with that, and how many of how many sequences are done.
        """
        return measure(follow_task(pruned, self.data), self.data, self.request, what, progress)

    def compare(self, measured: Measured) -> Comparison | Increase:
        """The paired difference to the unpruned model."""
        return compare(self.checkpoint.source.path, measured, self.base)

    @property
    def warnings(self) -> list[str]:
        """Reasons to doubt what the unpruned model answers."""
        followed = follow_task(self.checkpoint, self.data)
        return [*warnings_on(followed, self.request.task, self.data), *chance(followed, self.base)]

    @property
    def described(self) -> dict[str, Any]:
        """The `task` object of the JSON results."""
        return described(self.request, self.data) | {"n": len(self.data.y)}


def judge(checkpoint: Checkpoint, data: Split, request: Request, progress: Progress | None = None) -> Judge:
    """Measure the unpruned checkpoint on a split.

    Raises:
        CheckpointError: the tree is no model that can be built, or its outputs are not finite.
    """
    base = measure(follow_task(checkpoint, data), data, request, "unpruned", progress)
    return Judge(checkpoint, data, request, base)


def selection_request(
    checkpoint: Checkpoint, task: str | None, data_dir: str | Path | None, gate: str = "max_drop"
) -> Request:
    """The split that a ratio may be chosen on; without a task, of the one that the checkpoint was trained on.

    Raises:
        UsageError: no task is known, what the gate limits does not judge it, or its validation data is its test data.
    """
    name = task or checkpoint.task_name
    if name is None:
        said = checkpoint.task.get("name")
        trained = f"was trained on {said!r}, which is no task here" if said else "does not say on which it was trained"
        raise UsageError(
            f"⟦{gate}⟧ needs a task, and the checkpoint {trained}",
            "add ⟦task⟧, or choose by ⟦max_error⟧, which needs no labels"
            if GATES[gate] == ACCURACY
            else "add ⟦task FILE.txt⟧ or ⟦calibration_file FILE.txt⟧: the text to measure on",
        )
    expect(find(name), GATES[gate], f"⟦{gate}⟧")
    split = find(name).selection_split
    if split is None:
        raise UsageError(
            f"task {name} has no validation split of its own: it validates on its test data, which must not choose",
            "⟦max_error⟧ chooses without labels; or hold out sequences of your own: ⟦task FILE.npz⟧",
        )
    return Request(name, split, data_dir)
