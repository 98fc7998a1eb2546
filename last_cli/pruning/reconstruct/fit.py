"""A checkpoint's readouts and the moments of its states: all that a refit of C needs, whatever stays.

Second moments of the states come from calibration sequences, from sequences made without data, or from white inputs in
closed form. They are mixed with those of white inputs over much longer sequences, and a ridge holds C near its old
value: a fit to the trained length alone may fail on longer sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.find import Layer
from last_cli.families.lti.system import System
from last_cli.pruning.calibration.observe import Observation
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

if TYPE_CHECKING:
    from last_cli.pruning.calibration.measurements import Measurement

# Of the moments that are measured. Sequences made without data are nearly white, and want less of it.
WHITE_SHARE, WHITE_SHARE_WITHOUT_DATA = 0.3, 0.1
WEIGHTED_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class LayerFit:
    """One layer before anything is removed, and C refitted for whatever stays.

    Attributes:
        moments: S on the calibration inputs alone; None for white inputs.
        problem: readout and moments as the elimination sees them.
        sensitivity: of the logits to each state, see calibration.measurements; ones where no network was run.
        metric: of the logits to errors of the outputs, together, see calibration.measurements; the identity without.
        power: E|y|^2 of the state part of the output.
    """

    layer: Layer
    system: System
    moments: np.ndarray | None
    problem: eliminate.Problem
    sensitivity: np.ndarray
    metric: np.ndarray
    power: float

    @cached_property
    def relative_error(self) -> np.ndarray:
        """What removing each state adds to the layer's relative error, C refitted, when its turn comes; (G, N)."""
        return eliminate.eliminate(self.problem).by_state() / (self.power or 1.0)

    @cached_property
    def weighted_error(self) -> np.ndarray:
        """The same with errors of the outputs weighed by the logits' sensitivity, and not relative to the layer's."""
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
class Fit:
    """Everything that depends on neither ratio nor recipe.

    Attributes:
        source: where the inputs come from, for report and stamp.
        settings: every number that the result depends on.
        probe: the network with other readouts, see probe.Probe; None where it is not to be run.
        reused: sequences whose measurement an earlier run has left in the cache.
    """

    checkpoint: Checkpoint
    layers: tuple[LayerFit, ...]
    source: Mapping[str, Any]
    settings: Mapping[str, Any]
    probe: Any = None
    reused: int = 0

    @cached_property
    def wanted(self) -> np.ndarray:
        """Logits of the whole network on the probe's sequences, (n, classes)."""
        return self.probe.logits([p.system.C for p in self.layers])


def fit_of(observation: Observation) -> Fit:
    """The fit of what was observed, made once for each observation.

    Raises:
        CheckpointError: the states or their effect on the logits overflow, or the tree is no network that can run.
        UsageError: a family that does not say how C enters its system.
    """
    if observation not in _FITS:
        _FITS[observation] = _fit(observation)
    return _FITS[observation]


_FITS: WeakKeyDictionary[Observation, Fit] = WeakKeyDictionary()


def _fit(observation: Observation) -> Fit:
    checkpoint, inputs = observation.checkpoint, observation.inputs
    check_families(checkpoint.layers)
    measured, seen, white_share, horizon = observation.measurements, None, 1.0, observation.horizon
    if inputs is not None:
        from last_cli.pruning.reconstruct.probe import probe

        horizon, seen = inputs.length, probe(checkpoint, inputs)
        white_share = WHITE_SHARE if inputs.are_data else WHITE_SHARE_WITHOUT_DATA
    settings = {
        "ridge": eliminate.RIDGE,
        "white_share": white_share,
        "white_horizon": WHITE_LENGTHS * horizon if measured else horizon,
        "minded_share": WEIGHTED_SHARE if measured else 0.0,
        "seed": observation.seed,
    }
    layers = tuple(_layer_fit(checkpoint, layer, measured.get(layer.name), settings) for layer in checkpoint.layers)
    return Fit(checkpoint, layers, observation.source, settings, seen, observation.reused)


def check_families(layers: Iterable[Layer]) -> None:
    """Raises UsageError where a family does not say how C enters its system."""
    for layer in layers:
        if layer.family.with_readouts is None:
            refit = "prune it by a criterion, and ⟦refit⟧ refits what its layers put out, on a text: ⟦calibration_file⟧"
            hint = "prune it by a criterion" if layer.family.system is not None else refit
            raise UsageError(f"{layer.name}: the family '{layer.family.name}' cannot refit C", hint)


def _layer_fit(
    checkpoint: Checkpoint, layer: Layer, measured: Measurement | None, settings: Mapping[str, Any]
) -> LayerFit:
    system = checkpoint.system(layer)
    white = white_moments(system, settings["white_horizon"])
    W, S, moments, sensitivity = readout_matrix(system), white, None, np.ones(system.lam.shape)
    metric = np.tile(np.eye(W.shape[1]), (len(W), 1, 1))
    if measured is not None:
        moments, sensitivity, metric = measured.moments, measured.sensitivity, measured.metric
        S = mixed((1 - WEIGHTED_SHARE) * moments + WEIGHTED_SHARE * measured.weighted, white, settings["white_share"])
        if not all(np.isfinite(array).all() for array in (S, sensitivity, metric)):
            raise CheckpointError(
                f"{layer.name}: the states or their effect on the logits overflow on the calibration inputs",
                "take shorter sequences, or none",
            )
    power = float(energy(W, white if moments is None else moments).sum())
    problem = eliminate.problem(W, S, system.live_mask)
    return LayerFit(layer, system, moments, problem, sensitivity, metric, power)
