"""Steps from the refitted readouts towards the answers of the whole network, in closed form.

Refitting layer by layer leaves errors that add up through the network. With r the change that the logits still need and
J their derivatives by the kept states' readouts, all layers' changes D of W are chosen at once, to minimise

    sum of (r - J D)^T F (r - J D) + mu * sum of tr(M D S D^T).

F = diag(p) - p p^T, of the probabilities p that the whole network gives the classes of a sequence, makes the first sum
about twice the Kullback-Leibler divergence of the answers: errors of logits that no answer hangs on count little. S are
the moments of the refit, with its guards, and M is E[g g^T] of g = d logits / d y: what the change would cost if the
steps of a sequence were independent. That is a Gauss-Newton step with a Kronecker-factored penalty (after Martens &
Grosse, ICML 2015), solved in the space of its equations, a few for each sequence. It is repeated with the derivatives
at the new readouts as long as the divergence halves on held-out sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.progress import Progress
from last_cli.pruning.moments import raised, readout_matrix, readouts
from last_cli.pruning.reconstruct.allocate import divergence, probabilities
from last_cli.pruning.reconstruct.fit import Fit, LayerFit

RIDGES = (0.1, 1.0, 10.0)
STEPS, WORTH = 3, 0.5
"""Steps at most, and to what share of the one before a divergence falls if another step is worth its time."""
NEGLIGIBLE = 0.15
"""Share of what all answers mind that steps leave out, for few rows, which the time goes by. It, F and WORTH were
chosen on an S5 network of one direction that no table is measured on, where more steps or rows gained nothing."""
MOST_NUMBERS, MOST_AGAIN = 2**28, 2**27
"""Derivatives that are held at once, and that are computed more than once: of more, one step takes long enough."""
FEWEST_SEQUENCES = 32
HELD_OUT = 4

Matrices = Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class Corrected:
    """All layers' C after the steps, and what decided on them.

    Attributes:
        ridges: mu of each step, as a share of the equations' mean diagonal; none where no step was better than none.
        errors: divergences from the whole network's answers on sequences that no step was made for, before the steps
            and after each.
        sequences: how many the last step was made for.
    """

    C: Matrices
    ridges: Sequence[float]
    errors: Sequence[float]
    sequences: int


@dataclass(frozen=True, eq=False)
class _Equations:
    """A step's linear equations: `rows` of each layer times its whitened change are to be what is `missing`."""

    C: Matrices
    rows: Matrices
    kernel: np.ndarray
    missing: np.ndarray


def corrected(fit: Fit, keep: Matrices, C: Matrices, progress: Progress | None = None) -> Corrected | None:
    """C after the steps; None without a network, or where too few sequences' derivatives fit in memory.

    Ridges and the number of steps are chosen on one in HELD_OUT of the sequences, with steps made for the others; then
    the last one is made for all.
    """
    if fit.probe is None:
        return None
    from last_cli.pruning.reconstruct.probe import Whitening

    whitenings = [Whitening(*_sides(p, mask)) for p, mask in zip(fit.layers, keep, strict=True)]
    roots = roots_of(probabilities(fit.wanted))
    numbers = roots.shape[1] * sum(int(w.columns.sum()) for w in whitenings)
    sequences = min(len(fit.probe.inputs.x), MOST_NUMBERS // max(numbers, 1))
    if sequences < min(FEWEST_SEQUENCES, len(fit.probe.inputs.x)):
        return None
    held = np.arange(0, len(fit.wanted), HELD_OUT)
    known = np.flatnonzero(np.repeat(np.arange(sequences) % HELD_OUT > 0, roots.shape[1]))
    ridges, errors, last = [], [divergence(fit.probe.logits(C, held), fit.wanted[held])], None
    most = STEPS if numbers * sequences <= MOST_AGAIN else 1
    while len(ridges) < most:
        equations = _equations(fit, whitenings, C, roots[:sequences], progress)
        tried = []
        for ridge in RIDGES:
            found = _step(fit, whitenings, equations, known, ridge)
            tried.append((divergence(fit.probe.logits(found, held), fit.wanted[held]), ridge, found))
        error, ridge, found = min(tried, key=lambda one: one[0])
        if not error < errors[-1]:
            break
        last, C = equations, found
        ridges.append(ridge)
        errors.append(error)
        if error > WORTH * errors[-2]:
            break
    if last is not None:
        C = _step(fit, whitenings, last, np.arange(len(last.missing)), ridges[-1])
    return Corrected(C, ridges, errors, sequences)


def _equations(
    fit: Fit, whitenings: Sequence[Any], C: Matrices, roots: np.ndarray, progress: Progress | None
) -> _Equations:
    """Those of the first sequences, of as many as there are roots, at these readouts."""
    wanted, answers = fit.wanted[: len(roots)], fit.probe.logits(C, np.arange(len(roots)))
    rows = fit.probe.derivatives(C, whitenings, roots, progress)
    missing = np.einsum("nij,nj->ni", roots, wanted - answers).ravel()
    kernel = np.zeros((len(missing), len(missing)), np.float32)
    for part in rows:
        kernel += part @ part.T
    return _Equations(C, rows, kernel, missing)


def roots_of(p: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n rows classes"]:
    """R with R^T R = diag(p) - p p^T, in as few rows as leave no more than a share of NEGLIGIBLE out.

    Of a sure answer that is next to nothing, of one between two classes one row: a step costs by the rows.
    """
    values, vectors = np.linalg.eigh(p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :]))
    values = np.maximum(values, 0)  # rising
    left_out = np.cumsum(values.sum(axis=0)) <= NEGLIGIBLE * values.sum()
    kept = slice(min(int(left_out.sum()), p.shape[1] - 1), None)
    return np.sqrt(values[:, kept, None]) * np.swapaxes(vectors, 1, 2)[:, kept]


def _weights(equations: _Equations, known: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of the equations, zero for all but the known ones."""
    part = equations.kernel[np.ix_(known, known)]
    part[np.diag_indices_from(part)] += ridge * (np.trace(part) / len(part) or 1.0)
    weights = np.zeros(len(equations.missing), np.float32)
    # Single precision is enough: the ridge bounds the condition.
    weights[known] = np.linalg.solve(part, equations.missing[known].astype(np.float32))
    return weights


def _step(
    fit: Fit, whitenings: Sequence[Any], equations: _Equations, known: np.ndarray, ridge: float
) -> list[np.ndarray]:
    weights = _weights(equations, known, ridge)
    layers = zip(fit.layers, whitenings, equations.rows, equations.C, strict=True)
    return [_moved(p, whitening, weights @ part, old) for p, whitening, part, old in layers]


def _moved(p: LayerFit, whitening: Any, change: np.ndarray, C: np.ndarray) -> np.ndarray:
    """C after a change in whitened coordinates."""
    step = np.zeros(whitening.columns.shape)
    step[whitening.columns] = change
    step = step.reshape(len(whitening.left), whitening.left.shape[1], -1)
    step = whitening.left @ step @ np.swapaxes(whitening.right, 1, 2)
    return readouts(readout_matrix(replace(p.system, C=C)) + step, p.system)


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
