"""How many states each layer keeps: several allocations are built for the asked ratio, and the best is measured.

A state's worth combines what its removal costs once C is refitted, when its turn in the greedy elimination comes, and
the squared change of the logits without any refit (Gauss-Newton). No one combination is best for every network and
ratio, so each is tried in the network itself, by the divergence of its answers on unlabelled inputs: squared errors of
the logits are mostly those of classes that neither network would answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.progress import Progress
from last_cli.pruning.reconstruct.fit import Fit, LayerFit
from last_cli.pruning.select import Rule, choose

Score = Callable[[LayerFit], np.ndarray]

WITHOUT_NETWORK: Mapping[str, Score] = {"relative error": lambda p: p.relative_error}
CANDIDATES: Mapping[str, Score] = {
    "error x gn": lambda p: p.relative_error * p.sensitivity,
    "error x gn^2": lambda p: p.relative_error * p.sensitivity**2,
    "weighted error": lambda p: p.weighted_error,
    "weighted error x gn": lambda p: p.weighted_error * p.sensitivity,
    "gn": lambda p: p.sensitivity,
}


@dataclass(frozen=True, eq=False)
class Allocation:
    """Which states stay.

    Attributes:
        name: of the combination that ranked them.
        scores, keep: of each layer, (G, N).
        errors: divergence from the whole network's answers of every candidate that was measured; empty where no network
            was run.
    """

    name: str
    scores: Sequence[np.ndarray]
    keep: Sequence[np.ndarray]
    errors: Mapping[str, float] = field(default_factory=dict)


def allocate(fit: Fit, ratio: float, rule: Rule = Rule(), progress: Progress | None = None) -> Allocation:
    """The candidate whose answers, with C refitted, come closest to those of the whole network.

    Raises:
        UsageError: a ratio outside [0, 1).
    """
    candidates = CANDIDATES if fit.probe else WITHOUT_NETWORK
    values: dict[str, list[np.ndarray]] = {name: [] for name in candidates}
    with ThreadPoolExecutor() as pool:
        layers = pool.map(lambda p: [guarded(p, score(p)) for score in candidates.values()], fit.layers)
        for done, scores in enumerate(layers, 1):
            for name, one in zip(values, scores, strict=True):
                values[name].append(one)
            if progress:
                progress("eliminate", done, len(fit.layers))
    found = [Allocation(name, scores, kept_by(fit, scores, ratio, rule)) for name, scores in values.items()]
    if fit.probe is None:
        return found[0]
    errors = {}
    for one in found:
        C = [p.readouts(keep) for p, keep in zip(fit.layers, one.keep, strict=True)]
        errors[one.name] = divergence(fit.probe.logits(C), fit.wanted)
        if progress:
            progress("allot", len(errors), len(found))
    best = min(found, key=lambda one: errors[one.name])
    return Allocation(best.name, best.scores, best.keep, errors)


def divergence(answers: Float[np.ndarray, "n classes"], wanted: Float[np.ndarray, "n classes"]) -> float:
    """The mean Kullback-Leibler divergence of the probabilities that logits stand for from the wanted ones, in nats."""
    change = _normal(wanted) - _normal(answers)
    return float((probabilities(wanted) * change).sum(axis=1).mean())


def probabilities(logits: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    """Of the classes."""
    return np.exp(_normal(logits))


def _normal(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def guarded(p: LayerFit, score: np.ndarray) -> np.ndarray:
    """The scores with an infinite one in each channel: the last state of a channel that is used is never removed."""
    if len(score) == 1:
        return score
    used = (p.problem.live & (p.relative_error > 0)).any(axis=1)
    best = np.where(p.problem.live, score, -1).argmax(axis=1)
    score = score.copy()
    score[used, best[used]] = np.inf
    return score


def kept_by(fit: Fit, scores: Sequence[np.ndarray], ratio: float, rule: Rule) -> list[np.ndarray]:
    """The masks of the states that such guarded scores keep."""
    live = [p.problem.live for p in fit.layers]
    masks = choose(scores, live, ratio, rule)
    return [m | (np.isinf(s) & alive) for m, s, alive in zip(masks, scores, live, strict=True)]
