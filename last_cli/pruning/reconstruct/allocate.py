"""How many states each layer keeps: several allocations are built for the asked ratio, and the best is measured.

A state's worth combines what its removal costs once C is refitted, when its turn in the greedy elimination comes, and
the squared change of the logits without any refit (Gauss-Newton). No one combination is best for every network and
ratio, so each is tried in the network itself, by the relative error of the logits on unlabelled inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from last_cli.pruning import select as selection
from last_cli.pruning.reconstruct.plan import LayerPlan, Plan
from last_cli.pruning.score import Shape
from last_cli.results.source import Progress

Score = Callable[[LayerPlan], np.ndarray]

WITHOUT_NETWORK: Mapping[str, Score] = {"relative error": lambda p: p.relative_error}
CANDIDATES: Mapping[str, Score] = {
    "error x gn": lambda p: p.relative_error * p.gates,
    "error x gn^2": lambda p: p.relative_error * p.gates**2,
    "weighted error": lambda p: p.weighted_error,
    "weighted error x gn": lambda p: p.weighted_error * p.gates,
    "gn": lambda p: p.gates,
}


@dataclass(frozen=True, eq=False)
class Allocation:
    """Which states stay.

    Attributes:
        name: of the combination that ranked them.
        scores, keep: of each layer, (G, N).
        errors: relative logit error of every candidate that was measured; empty where no network was run.
    """

    name: str
    scores: Sequence[np.ndarray]
    keep: Sequence[np.ndarray]
    errors: Mapping[str, float] = field(default_factory=dict)


def allocate(
    plan: Plan,
    ratio: float,
    shape: Shape = "ragged",
    scope: selection.Scope = "global",
    min_states: int = 1,
    progress: Progress | None = None,
) -> Allocation:
    """The candidate whose logits, with C refitted, come closest to those of the whole network."""
    candidates = CANDIDATES if plan.probe else WITHOUT_NETWORK
    values: dict[str, list[np.ndarray]] = {name: [] for name in candidates}
    with ThreadPoolExecutor() as pool:
        layers = pool.map(lambda p: [guarded(p, score(p)) for score in candidates.values()], plan.layers)
        for done, scores in enumerate(layers, 1):
            for name, one in zip(values, scores, strict=True):
                values[name].append(one)
            if progress:
                progress("eliminate", done, len(plan.layers))
    found = [
        Allocation(name, scores, _keep(plan, scores, ratio, shape, scope, min_states))
        for name, scores in values.items()
    ]
    if plan.probe is None:
        return found[0]
    errors = {}
    for one in found:
        C = [p.readouts(keep) for p, keep in zip(plan.layers, one.keep, strict=True)]
        errors[one.name] = relative_error(plan.probe.logits(C), plan.wanted)
        if progress:
            progress("allot", len(errors), len(found))
    best = min(found, key=lambda one: errors[one.name])
    return Allocation(best.name, best.scores, best.keep, errors)


def relative_error(answers: np.ndarray, wanted: np.ndarray) -> float:
    """Of all logits together, as root mean squares."""
    whole = float(np.square(wanted).sum())
    return float(np.sqrt(np.square(answers - wanted).sum() / whole)) if whole else 0.0


def guarded(p: LayerPlan, score: np.ndarray) -> np.ndarray:
    """The scores with an infinite one in each channel: the last state of a channel that is used is never removed."""
    if len(score) == 1:
        return score
    used = (p.problem.live & (p.relative_error > 0)).any(axis=1)
    best = np.where(p.problem.live, score, -1).argmax(axis=1)
    score = score.copy()
    score[used, best[used]] = np.inf
    return score


def _keep(
    plan: Plan, scores: Sequence[np.ndarray], ratio: float, shape: Shape, scope: selection.Scope, min_states: int
) -> list[np.ndarray]:
    live = [p.problem.live for p in plan.layers]
    masks = selection.select(scores, live, ratio, scope=scope, min_states=min_states)
    if shape == "rectangular":
        even = selection.rectangular(scores, live, masks)
        masks = [e if len(e) > 1 else m for e, m in zip(even, masks, strict=True)]
    return [m | (np.isinf(s) & alive) for m, s, alive in zip(masks, scores, live, strict=True)]
