"""One step from the refitted readouts towards the logits of the whole network, in closed form.

Refitting layer by layer leaves errors that add up through the network. With r the change that the logits still need and
J their derivatives by the kept states' readouts, all layers' changes D of W are chosen at once, to minimise

    |r - sum of J D|^2 + mu * sum of tr(M D S D^T),

where S are the moments of the refit, with its guards, and M is E[g g^T] of g = d logits / d y: what the change would
cost if the steps of a sequence were independent. That is a Gauss-Newton step with a Kronecker-factored penalty (after
Martens & Grosse, ICML 2015), solved in the space of its equations, one for each sequence and class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from last_cli.base.progress import Progress
from last_cli.pruning.moments import raised, readout_matrix, readouts
from last_cli.pruning.reconstruct.allocate import relative_error
from last_cli.pruning.reconstruct.fit import Fit, LayerFit

RIDGES = (0.1, 1.0)
MOST_NUMBERS = 2**28
FEWEST_SEQUENCES = 32
HELD_OUT = 4

Matrices = Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class Corrected:
    """All layers' C after the step, and what decided on it.

    Attributes:
        ridge: mu, as a share of the equations' mean diagonal; None where no step was better than none.
        errors: relative logit errors on sequences that the step was not made for, by ridge, and without a step.
        sequences: how many it was made on in the end.
    """

    C: Matrices
    ridge: float | None
    errors: Mapping[str, float]
    sequences: int


def corrected(fit: Fit, keep: Matrices, C: Matrices, progress: Progress | None = None) -> Corrected | None:
    """C after the step; None without a network, or where too few sequences' derivatives fit in memory.

    The ridge is chosen on one in HELD_OUT of the sequences, with a step made for the others, and then the step is made
    for all.
    """
    if fit.probe is None:
        return None
    from last_cli.pruning.reconstruct.probe import Whitening

    whitenings = [Whitening(*_sides(p, mask)) for p, mask in zip(fit.layers, keep, strict=True)]
    numbers = fit.probe.classes * sum(int(w.columns.sum()) for w in whitenings)
    sequences = min(len(fit.probe.inputs.x), MOST_NUMBERS // max(numbers, 1))
    if sequences < min(FEWEST_SEQUENCES, len(fit.probe.inputs.x)):
        return None
    before = fit.probe.logits(C)
    missing = (fit.wanted - before)[:sequences].ravel()
    rows = fit.probe.derivatives(C, whitenings, sequences, progress)
    kernel = np.zeros((len(missing), len(missing)), np.float32)
    for part in rows:
        kernel += part @ part.T
    held = np.arange(len(fit.wanted)) % HELD_OUT == 0
    known = np.flatnonzero(np.repeat(~held[:sequences], fit.probe.classes))
    errors = {"none": relative_error(before[held], fit.wanted[held])}
    for ridge in RIDGES:
        tried = _step(fit, whitenings, rows, _weights(kernel, missing, known, ridge), C)
        errors[f"{ridge:g}"] = relative_error(fit.probe.logits(tried)[held], fit.wanted[held])
    best = min(errors, key=lambda name: errors[name])
    if best == "none":
        return Corrected(C, None, errors, sequences)
    weights = _weights(kernel, missing, np.arange(len(missing)), float(best))
    return Corrected(_step(fit, whitenings, rows, weights, C), float(best), errors, sequences)


def _weights(kernel: np.ndarray, missing: np.ndarray, known: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of the equations, zero for all but the known ones."""
    part = kernel[np.ix_(known, known)]
    part[np.diag_indices_from(part)] += ridge * (np.trace(part) / len(part) or 1.0)
    weights = np.zeros(len(missing), np.float32)
    # Single precision is enough: the ridge bounds the condition.
    weights[known] = np.linalg.solve(part, missing[known].astype(np.float32))
    return weights


def _step(fit: Fit, whitenings: Sequence[Any], rows: Matrices, weights: np.ndarray, C: Matrices) -> Matrices:
    found = []
    for p, whitening, part, old in zip(fit.layers, whitenings, rows, C, strict=True):
        step = np.zeros(whitening.columns.shape)
        step[whitening.columns] = weights @ part
        step = step.reshape(len(whitening.left), whitening.left.shape[1], -1)
        step = whitening.left @ step @ np.swapaxes(whitening.right, 1, 2)
        found.append(readouts(readout_matrix(replace(p.system, C=old)) + step, p.system))
    return found


def _sides(p: LayerFit, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse square roots of M and of S, in unscaled coordinates; S as if what is removed were uncoupled."""
    problem = p.problem
    kept = np.repeat(keep & problem.live, problem.width, axis=1)
    pairs = kept[:, :, None] & kept[:, None, :]
    S = np.where(pairs, problem.S, np.eye(kept.shape[1]))
    right = np.where(pairs, np.linalg.cholesky(np.linalg.inv(S)), 0) / problem.scale[:, :, None]
    left = np.linalg.cholesky(np.linalg.inv(raised(p.metric)))
    columns = np.broadcast_to(kept[:, None, :], (len(kept), left.shape[1], kept.shape[1]))
    return left, right, columns.ravel()
