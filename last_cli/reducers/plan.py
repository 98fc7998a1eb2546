"""What `reconstruct` knows of a checkpoint before a ratio is asked for: moments, sensitivities and scores.

Second moments of the states come from calibration sequences, from random ones, or from white inputs in closed form.
They are mixed with those of white inputs over much longer sequences, and a ridge holds C near its old value: a fit to
the trained length alone may fail on longer sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from last_cli.errors import CheckpointError, UsageError
from last_cli.layers import Layer
from last_cli.loading import Checkpoint
from last_cli.reducers import elimination
from last_cli.reducers.inputs import Inputs
from last_cli.reducers.moments import WHITE_LENGTHS, WHITE_SHARE, energy, mixed, readout_matrix, white_moments
from last_cli.results import LayerScore, Progress
from last_cli.scoring import Choice, score_layers
from last_cli.system import System

MINDED_SHARE = 0.5
WHITE_HORIZON = 1024


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """What is known of one layer before anything is removed.

    Attributes:
        moments: S on the calibration inputs alone; None for white inputs.
        problem: readout and moments as the elimination sees them.
        gates: how much the logits mind each state, see network.Measurement; ones where no network was run.
        power: E|y|^2 of the state part of the output.
    """

    layer: Layer
    system: System
    moments: np.ndarray | None
    problem: elimination.Problem
    gates: np.ndarray
    power: float

    @cached_property
    def score(self) -> np.ndarray:
        """What each state is worth, (G, N), comparable between layers.

        The geometric mean of two costs of removing it: the layer's relative error with C refitted, when its turn in the
        greedy elimination comes, and the squared change of the logits without any refit (Gauss-Newton).
        """
        cost = elimination.eliminate(self.problem).by_state()
        score = np.sqrt(cost / (self.power or 1.0) * self.gates)
        if len(score) == 1:
            return score
        # The last state of a channel that is used is never removed.
        used = (self.problem.live & (cost > 0)).any(axis=1)
        best = np.where(self.problem.live, score, -1).argmax(axis=1)
        score[used, best[used]] = np.inf
        return score


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that does not depend on the ratio: reuse it for several."""

    checkpoint: Checkpoint
    layers: tuple[LayerPlan, ...]
    scored: Sequence[LayerScore]
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    warnings: Sequence[str]


def prepare(
    checkpoint: Checkpoint,
    inputs: Inputs | None,
    *,
    seed: int = 0,
    horizon: int = WHITE_HORIZON,
    progress: Progress | None = None,
) -> Plan:
    """Measure the states on these inputs; without any, for white inputs of `horizon` steps, running no network.

    Raises:
        CheckpointError: poles at or beyond the unit circle, or, with inputs, a tree that is no classifier.
        UsageError: a family that does not say how C enters its system.
    """
    scored, warnings = score_layers(checkpoint, Choice(seed=seed))
    for layer in checkpoint.layers:
        if layer.family.with_readouts is None:
            raise UsageError(
                f"{layer.name}: the family '{layer.family.name}' cannot refit C", "prune it by a criterion"
            )
    measured: Mapping[str, Any] = {}
    if inputs is not None:
        from last_cli.reducers.network import measure

        horizon = inputs.x.shape[1]
        measured = measure(checkpoint, inputs, seed, progress)
    settings = {
        "ridge": elimination.RIDGE,
        "white_share": WHITE_SHARE if measured else 1.0,
        "white_horizon": WHITE_LENGTHS * horizon if measured else horizon,
        "minded_share": MINDED_SHARE if measured else 0.0,
        "seed": seed,
    }
    layers = tuple(_layer_plan(checkpoint, layer, measured.get(layer.name), settings) for layer in checkpoint.layers)
    said = {**inputs.source, "digest": inputs.digest} if inputs is not None else {"white": horizon}
    return Plan(checkpoint, layers, scored, said, settings, warnings)


def _layer_plan(checkpoint: Checkpoint, layer: Layer, measured: Any, settings: Mapping[str, Any]) -> LayerPlan:
    system = checkpoint.system(layer)
    white = white_moments(system, settings["white_horizon"])
    W, S, moments, gates = readout_matrix(system), white, None, np.ones(system.lam.shape)
    if measured is not None:
        moments, gates = measured.moments, measured.gates
        S = mixed((1 - MINDED_SHARE) * moments + MINDED_SHARE * measured.minded, white)
        if not all(np.isfinite(array).all() for array in (S, gates)):
            raise CheckpointError(
                f"{layer.name}: the states or their effect on the logits overflow on the calibration inputs",
                "take shorter sequences, or none",
            )
    power = float(energy(W, white if moments is None else moments).sum())
    return LayerPlan(layer, system, moments, elimination.problem(W, S, system.live_mask), gates, power)
