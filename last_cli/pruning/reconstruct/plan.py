"""What `reconstruct` knows of a checkpoint before a ratio is asked for: moments, sensitivities and scores.

Second moments of the states come from calibration sequences, from sequences made without data, or from white inputs in
closed form. They are mixed with those of white inputs over much longer sequences, and a ridge holds C near its old
value: a fit to the trained length alone may fail on longer sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.families.find import Layer
from last_cli.families.lti.system import System
from last_cli.pruning.moments import (
    WHITE_LENGTHS,
    energy,
    mixed,
    raised,
    readout_matrix,
    readouts,
    white_moments,
)
from last_cli.pruning.reconstruct import eliminate
from last_cli.pruning.score import Choice, score_layers
from last_cli.results.score import LayerScore
from last_cli.results.source import Progress

# Of the moments that are measured. Sequences made without data are nearly white, and want less of it.
WHITE_SHARE, WHITE_SHARE_WITHOUT_DATA = 0.3, 0.1
MINDED_SHARE = 0.5
WHITE_HORIZON = 1024


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """What is known of one layer before anything is removed.

    Attributes:
        moments: S on the calibration inputs alone; None for white inputs.
        problem: readout and moments as the elimination sees them.
        gates: how much the logits mind each state, see calibration.Measurement; ones where no network was run.
        metric: how the logits mind errors of the outputs, together, see calibration.Measurement; the identity without.
        power: E|y|^2 of the state part of the output.
    """

    layer: Layer
    system: System
    moments: np.ndarray | None
    problem: eliminate.Problem
    gates: np.ndarray
    metric: np.ndarray
    power: float

    @cached_property
    def relative_error(self) -> np.ndarray:
        """What removing each state adds to the layer's relative error, C refitted, when its turn comes; (G, N)."""
        return eliminate.eliminate(self.problem).by_state() / (self.power or 1.0)

    @cached_property
    def weighted_error(self) -> np.ndarray:
        """The same with errors of the outputs weighed as the logits mind them, and not relative to the layer's."""
        roots = np.linalg.cholesky(raised(self.metric))
        weighted = replace(self.problem, W=np.swapaxes(roots, 1, 2) @ self.problem.W)
        return eliminate.eliminate(weighted).by_state()

    def readouts(self, keep: np.ndarray) -> np.ndarray:
        """C refitted for the kept states, zero elsewhere; systems that lose nothing keep theirs to the last bit."""
        touched = np.asarray((self.problem.live & ~keep).any(axis=1))
        C = readouts(eliminate.refit(self.problem, keep), self.system) if touched.any() else self.system.C
        C = np.where(touched[None, :, None, None], C, self.system.C)
        return np.where(keep[None, :, None, :], C, 0)


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that does not depend on the ratio: reuse it for several.

    Attributes:
        probe: the network with other readouts, see probe.Probe; None where it is not to be run.
        reused: sequences whose measurement an earlier run has left in the cache.
    """

    checkpoint: Checkpoint
    layers: tuple[LayerPlan, ...]
    scored: Sequence[LayerScore]
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    warnings: Sequence[str]
    probe: Any = None
    reused: int = 0

    @cached_property
    def wanted(self) -> np.ndarray:
        """Logits of the whole network on the probe's sequences, (n, classes)."""
        return self.probe.logits([p.system.C for p in self.layers])


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
    seen, reused, white_share = None, 0, 1.0
    if inputs is not None:
        from last_cli.pruning.calibration.measure import measure
        from last_cli.pruning.reconstruct.probe import probe

        horizon = inputs.length
        measured, seen = measure(checkpoint, inputs, seed, progress), probe(checkpoint, inputs)
        reused = max(one.reused for one in measured.values())
        white_share = WHITE_SHARE if inputs.are_data else WHITE_SHARE_WITHOUT_DATA
    settings = {
        "ridge": eliminate.RIDGE,
        "white_share": white_share,
        "white_horizon": WHITE_LENGTHS * horizon if measured else horizon,
        "minded_share": MINDED_SHARE if measured else 0.0,
        "seed": seed,
    }
    layers = tuple(_layer_plan(checkpoint, layer, measured.get(layer.name), settings) for layer in checkpoint.layers)
    said = {**inputs.source, "digest": inputs.digest} if inputs is not None else {"white": horizon}
    return Plan(checkpoint, layers, scored, said, settings, warnings, seen, reused)


def _layer_plan(checkpoint: Checkpoint, layer: Layer, measured: Any, settings: Mapping[str, Any]) -> LayerPlan:
    system = checkpoint.system(layer)
    white = white_moments(system, settings["white_horizon"])
    W, S, moments, gates = readout_matrix(system), white, None, np.ones(system.lam.shape)
    metric = np.tile(np.eye(W.shape[1]), (len(W), 1, 1))
    if measured is not None:
        moments, gates, metric = measured.moments, measured.sensitivity, measured.metric
        S = mixed((1 - MINDED_SHARE) * moments + MINDED_SHARE * measured.weighted, white, settings["white_share"])
        if not all(np.isfinite(array).all() for array in (S, gates, metric)):
            raise CheckpointError(
                f"{layer.name}: the states or their effect on the logits overflow on the calibration inputs",
                "take shorter sequences, or none",
            )
    power = float(energy(W, white if moments is None else moments).sum())
    return LayerPlan(layer, system, moments, eliminate.problem(W, S, system.live_mask), gates, metric, power)
