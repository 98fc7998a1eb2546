"""How states are scored and chosen, and what a criterion needs for it beyond the layers' systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from last_cli.base import registry
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation import synthetic
from last_cli.evaluation.inputs import SEQUENCES, Inputs, trained_length
from last_cli.pruning import select as selection
from last_cli.results.source import Progress

Shape = Literal["ragged", "rectangular"]

ASSUMED_HORIZON = 1024


@dataclass(frozen=True)
class Choice:
    """How states are scored and chosen.

    Attributes:
        criterion: a name of the registry.
        scope: "global" ranks all layers together, "layer" removes the ratio in each.
        min_states: states that every layer keeps at least; with 0 a layer may lose all of them.
        seed: of the criterion `random`, and of inputs made without data.
        shape: "rectangular" keeps the same number of states in every channel of an S4D layer.
        allow_unstable: go on with poles at or beyond the unit circle.
        horizon: steps that the criterion `energy` looks ahead; None is the trained length.
    """

    criterion: str = "last"
    scope: selection.Scope = "global"
    min_states: int = 1
    seed: int = 0
    shape: Shape = "ragged"
    allow_unstable: bool = False
    horizon: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """For the stamp: all of it, and the horizon where it counts."""
        return {name: value for name, value in vars(self).items() if name != "horizon" or value is not None}


@dataclass(frozen=True)
class Needed:
    """What a criterion needs beyond the systems.

    Attributes:
        choice: with its horizon filled in.
        arguments: for each layer by its name.
        said: what that is, for report and stamp: the horizon, or where the input sequences come from.
        assumed: what nothing but our assumption decides.
    """

    choice: Choice
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)


def needed(
    checkpoint: Checkpoint,
    choice: Choice,
    inputs: Inputs | None = None,
    *,
    gates: Mapping[str, np.ndarray] | None = None,
    progress: Progress | None = None,
) -> Needed:
    """What the criterion needs: nothing, a horizon, or the gates as the network has them on `inputs`.

    Args:
        inputs: by default made without data, see remembered.
        gates: for each layer by its name, where they were measured already.

    Raises:
        CheckpointError: the tree is no classifier, where a network must run; or it overflows.
        UsageError: an unknown criterion, a horizon that it does not take, or nothing tells the trained length.
    """
    needs, names = registry.get("criteria", choice.criterion).needs, [layer.name for layer in checkpoint.layers]
    if inputs is not None and needs != "gates":
        raise UsageError(
            f"calibration sequences are given, but the criterion {choice.criterion} takes none",
            "the criterion gn takes them, and so does `last prune` with ⟦method reconstruct⟧ or ⟦refit⟧",
        )
    if choice.horizon is not None and (needs != "horizon" or choice.horizon < 1):
        raise UsageError(
            f"horizon is {choice.horizon}, with the criterion {choice.criterion}",
            "a horizon of 1 step or more goes with ⟦criterion energy⟧",
        )
    if needs == "horizon":
        horizon, assumed = (choice.horizon, False) if choice.horizon else _horizon(checkpoint)
        said = {"horizon": horizon}
        arguments = dict.fromkeys(names, said)
        return Needed(replace(choice, horizon=horizon), arguments, said, said if assumed else {})
    if needs == "gates":
        if gates is not None:
            return Needed(choice, {name: {"gates": gates[name]} for name in names})
        inputs = synthetic.sequences(checkpoint, SEQUENCES, seed=choice.seed) if inputs is None else inputs
        measured = _measured(checkpoint, inputs, choice.seed, progress)
        arguments = {name: {"gates": measured[name]} for name in names}
        return Needed(choice, arguments, {"calibration": {**inputs.source, "digest": inputs.digest}})
    return Needed(choice)


def _horizon(checkpoint: Checkpoint) -> tuple[int, bool]:
    """The trained length, or, where nothing tells it, what is assumed instead."""
    try:
        return trained_length(checkpoint), False
    except UsageError:
        return ASSUMED_HORIZON, True


def _measured(checkpoint: Checkpoint, inputs: Inputs, seed: int, progress: Progress | None) -> dict[str, np.ndarray]:
    from last_cli.pruning.calibration.measure import measure

    gates = {name: found.sensitivity for name, found in measure(checkpoint, inputs, seed, progress).items()}
    for name, values in gates.items():
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{name}: the states' effect on the logits overflows on the input sequences", "take shorter sequences"
            )
    return gates
