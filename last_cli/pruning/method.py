"""What a method of pruning is: it measures a checkpoint once, and its plan then answers at any ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.recipe import Recipe
from last_cli.results.prune import PruneReport


@dataclass(frozen=True)
class Pruned:
    """A checkpoint in memory with units removed, and what was done to it."""

    checkpoint: Checkpoint
    report: PruneReport


@runtime_checkable
class Plan(Protocol):
    """All that a method measured of one checkpoint for one recipe, whatever the ratio."""

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """The checkpoint with `ratio` of its units removed.

        Args:
            ratio: share of all units, in [0, 1).
            draft: only to be measured: all arrays keep their shapes, so that every ratio shares one compiled program,
                and the report leaves out what takes long to compute.

        Raises:
            UsageError: a ratio outside [0, 1).
        """
        ...


@runtime_checkable
class Method(Protocol):
    """A way to prune.

    Attributes:
        name: what recipes call it.
        summary: one line for lists.
        changes: what is new in kept units, in words; None where their values stay. The stamp and the report say it as
            `changes`, the roles of the leaves that are new: verification leaves those out, and takes all leaves as new
            where a stamp says nothing. With "dynamics" they are the leaves of Family.with_system, where there is one.
        needs_inputs: whether the units are observed on input sequences.
    """

    name: str
    summary: str
    changes: str | None
    needs_inputs: bool

    def prepare(
        self, checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None = None
    ) -> Plan:
        """Measure what no ratio changes.

        Args:
            checkpoint: what is to be pruned.
            recipe: how, all but the ratio.
            progress: called with what is being done, and how many of how many are done.
            observation: the units on input sequences, where the recipe needs them.

        Raises:
            CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or a tree that is no
                network where one must run.
            UsageError: a family that the method cannot change.
        """
        ...
