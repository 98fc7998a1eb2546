"""Sequences made without data, as like those of the training as the checkpoint itself remembers them.

Where a batch norm precedes the first block, its running mean and variance are those of K^T u + b, with K and b the
encoder's. For tokens, whose u is one-hot, the mean and the mean square are linear in how frequent each token was. For
features the mean is linear in theirs, and the variance in theirs where they are uncorrelated.
"""

from __future__ import annotations

import numpy as np

from last_cli.base import registry
from last_cli.base.annotations import Float
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of
from last_cli.evaluation.inputs import Inputs, positive, takes_tokens, trained_length
from last_cli.families.variables import Collections

TOLERANCE = 0.05
PADDING = 0
SHORTEST, LONGEST = 0.3, 2.0


def sequences(checkpoint: Checkpoint, count: int, *, seed: int = 0, length: int | None = None) -> Inputs:
    """`count` sequences of independent steps: of tokens, where a vocabulary or a head of two documents says so.

    Tokens are as frequent, and features have the mean and spread, that the first batch norm remembers; else they are
    uniform, features between the numbers that the task of the checkpoint names, or of N(0, 1) where it names none.
    Padded ones have SHORTEST to LONGEST of the trained length, evenly on a logarithmic scale: longer ones guard against
    errors that build up. All others have the trained length.

    Raises:
        UsageError: no length is given, and nothing tells the trained one.
    """
    spec, length = model_spec(checkpoint), length or trained_length(checkpoint)
    documents = (spec.documents,) if spec.documents > 1 else ()
    padded = bool(documents) or (checkpoint.config.padded and checkpoint.origins["padded"] != "assumed")
    steps = round(LONGEST * length) if padded else length
    shape, rng = (positive(count), *documents, steps), np.random.default_rng(seed)
    unknown = "uniform"
    if tokens := bool(documents) or takes_tokens(checkpoint):
        known = frequencies(checkpoint)
        p = np.full(spec.d_input, 1 / spec.d_input) if known is None else known
        if padded and p[PADDING] < 1:
            p = np.where(np.arange(len(p)) == PADDING, 0.0, p) / (1 - p[PADDING])
        x = rng.choice(len(p), size=shape, p=p).astype(np.int32)
    else:
        known, wide = mean_and_spread(checkpoint), (*shape, spec.d_input)
        mean, spread = (0.0, 1.0) if known is None else known
        between = _between(checkpoint) if known is None else None
        x = (rng.uniform(*between, wide) if between else mean + spread * rng.normal(size=wide)).astype(np.float32)
        unknown = f"uniform in [{between[0]:g}, {between[1]:g}]" if between else "normal"
    lengths = None
    if padded:
        share = np.exp(rng.uniform(np.log(SHORTEST / LONGEST), 0, shape[:-1]))
        lengths = np.maximum(np.round(share * steps), 1).astype(np.int32)
        x[np.arange(steps) >= lengths[..., None]] = PADDING
    source = {"random": "tokens" if tokens else "features", "length": length, "seed": seed, "sequences": count}
    return Inputs(x, lengths, source | {"statistics": unknown if known is None else "first batch norm"})


def _between(checkpoint: Checkpoint) -> tuple[float, float] | None:
    """The numbers between which the features of its task are."""
    return registry.get("tasks", checkpoint.task_name).between if checkpoint.task_name else None


def frequencies(checkpoint: Checkpoint) -> Float[np.ndarray, " tokens"] | None:
    """How frequent each token was, padding included; None where no batch norm tells, or no frequencies fit it."""
    found = _statistics(checkpoint)
    return fitted(*found) if found else None


def fitted(
    K: Float[np.ndarray, "tokens h"], mean: Float[np.ndarray, " h"], variance: Float[np.ndarray, " h"]
) -> Float[np.ndarray, " tokens"] | None:
    """Frequencies of the rows of K that have this mean and variance; None where none do."""
    p = _solution(np.concatenate([K, K**2], axis=1), np.concatenate([mean, variance + mean**2]))
    if p is None or p.min() < -TOLERANCE or abs(p.sum() - 1) > TOLERANCE:
        return None
    p = np.maximum(p, 0.0)
    return p / p.sum()


def mean_and_spread(checkpoint: Checkpoint) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]] | None:
    """Mean and standard deviation of each feature; None where no batch norm tells.

    Correlated features, whose own variances it does not tell, have one between them.
    """
    if (found := _statistics(checkpoint)) is None:
        return None
    K, mean, variance = found
    centre, square = _solution(K, mean), _solution(K**2, variance)
    if centre is None:
        return None
    if square is None:
        square = np.full(len(K), variance.sum() / (K**2).sum())
    return centre, np.sqrt(np.maximum(square, 0.0))


def _statistics(checkpoint: Checkpoint) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The encoder's kernel (d_input, d_model), and mean, without its bias, and variance of what it made of inputs."""
    paths = network_of(checkpoint).statistics(model_spec(checkpoint))
    if paths is None:
        return None
    keys = Collections.of(checkpoint.layers).variables({key: key for key in checkpoint.leaves})
    wanted = [keys[path] for path in paths]
    arrays = checkpoint.read(wanted)
    K, bias, mean, variance = (np.asarray(arrays[key], np.float64) for key in wanted)
    return (K, mean - bias, variance) if all(np.isfinite(a).all() for a in (K, bias, mean, variance)) else None


def _solution(A: Float[np.ndarray, "unknowns equations"], b: Float[np.ndarray, " equations"]) -> np.ndarray | None:
    """x with x A = b by least squares; None where it is not determined, or misses b by more than TOLERANCE."""
    x, _, rank, _ = np.linalg.lstsq(A.T, b, rcond=None)
    missed = np.linalg.norm(x @ A - b) > TOLERANCE * np.linalg.norm(b)
    return None if missed or rank < len(A) else x
