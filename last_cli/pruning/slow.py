"""Warnings of states that outrank a layer's others because they answer for longer than any sequence lasts.

LAST and AIRE measure a state over an infinite time: one with a pole close to the unit circle takes all of a layer's
tail share, and the layer keeps it and hardly another, whatever the sequences are like.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.criteria.criterion import tail_share
from last_cli.pruning.recipe import Recipe
from last_cli.results.score import LayerScore

MASS = 0.99
FAR = 100
"""So many times the trained length is far beyond it."""

LONG = 1_000_000
"""Steps that no sequence has, where the trained length is not known."""


def slow_warnings(checkpoint: Checkpoint, recipe: Recipe, scored: Sequence[LayerScore]) -> list[str]:
    """A warning for each layer in which the criterion sees little but one state, or a state answers for too long."""
    if recipe.scoring.normalise is not tail_share:
        return []
    known = checkpoint.task.get("length")
    length = known if isinstance(known, int) and known > 0 else None
    bounded = "horizon" in recipe.scoring.needs
    return [said for layer in scored if (said := _warning(layer, recipe.criterion, length, bounded))]


def _warning(layer: LayerScore, criterion: str, length: int | None, bounded: bool) -> str | None:
    if layer.states < 3 or layer.norms is None:
        return None
    share, top = _largest_share(layer)
    time = _time_constants(layer)
    longest = top if share > MASS else np.unravel_index(np.argmax(time), time.shape)
    steps = float(time[longest])
    slow = not bounded and steps > (FAR * length if length else LONG)
    if not slow and share <= MASS:
        return None
    found = []
    if share > MASS:
        found.append(f"has more than {MASS:.0%} of the layer's {criterion} mass, so that all others rank far behind")
    if slow:
        trained = f"the model was trained on {length:,}" if length else "more than any sequence has"
        found.append(f"answers over {steps:,.0f} steps (1 / (1 - |lambda|); {trained})")
    others = "⟦criterion gn⟧ and ⟦method reconstruct⟧ are not affected"
    others = others if bounded else f"⟦criterion energy⟧, {others}"
    return f"{layer.name}: {_place(layer, longest)} {' and '.join(found)}; {others}"


def _largest_share(layer: LayerScore) -> tuple[float, tuple[np.intp, ...]]:
    """What the first state has of the sum of a layer's energies, and which it is.

    A tail share is s_k = e_k / (e_1 + .. + e_k), so that the product of all other (1 - s_k) is e_1 / (e_1 + .. + e_n).
    """
    score = np.where(layer.live, layer.scores, 0.0).astype(np.float64)
    top = np.unravel_index(np.argmax(score), score.shape)
    if not score[top]:
        return 0.0, top
    score[top] = 0
    return float(np.prod(1 - score)), top


def _time_constants(layer: LayerScore) -> np.ndarray:
    """Steps in which a state's answer falls to 1/e, about; 0 where it never does, which is an error of its own."""
    assert layer.norms is not None
    decay = 1 - layer.norms.abs_lambda
    return np.where(layer.live & (layer.norms.hinf > 0) & (decay > 0), 1 / np.where(decay > 0, decay, 1), 0)


def _place(layer: LayerScore, where: tuple[np.intp, ...]) -> str:
    group, state = (int(i) for i in where)
    return f"state {state}" if len(layer.live) == 1 else f"channel {group}, state {state}"
