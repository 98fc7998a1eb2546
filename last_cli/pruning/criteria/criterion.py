"""What a criterion is: a System's energies per state, and how a layer's energies become comparable scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from last_cli.base.annotations import Float
from last_cli.families.lti.system import System

Energy = Callable[..., Float[np.ndarray, "G N"]]


def as_is(energy: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """No normalisation: energies of different layers are compared as they are."""
    return energy


def tail_share(energy: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Each energy over the sum of all that are at least as large (LAST, NeurIPS 2024, eq. 12).

    The largest gets 1. Energies that are all zero score 0.
    """
    order = np.argsort(-energy, kind="stable")
    ranked = energy[order]
    total = np.cumsum(ranked)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(ranked == 0, 0, np.where(np.isinf(ranked), 1, ranked / total))
    scores = np.empty_like(share)
    scores[order] = share
    return scores


@dataclass(frozen=True)
class Criterion:
    """A way to score states; the higher the score, the more a state matters.

    Attributes:
        name: what the option `criterion` takes.
        summary: one line for `last list criteria`.
        energy: System and a random generator -> energies (G, N); with `needs`, that by its name as well.
        normalise: energies of a layer's live states (n,) -> scores (n,).
        dtype: precision in which the system is discretised and the energies are computed.
        threshold: keep every state that scores at least as much as the last kept one, ties included, as the released
            code does; else exactly the asked number is kept.
        needs: what the energies depend on beyond the System: "horizon", a number of steps, or "gates" (G, N), for which
            the network runs on input sequences (see reducers.network.Measurement).
        min_states: states that every layer keeps at least, whatever was asked for.
    """

    name: str
    summary: str
    energy: Energy
    normalise: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]] = as_is
    dtype: type[np.floating] = np.float64
    threshold: bool = False
    needs: Literal["horizon", "gates"] | None = None
    min_states: int = 0


def scores(criterion: Criterion, system: System, rng: np.random.Generator, **needed: Any) -> Float[np.ndarray, "G N"]:
    """Scores of one layer's states; padding scores 0. `needed` is what the criterion needs, by its name."""
    live = system.live_mask
    result = np.zeros(live.shape, criterion.dtype)
    result[live] = criterion.normalise(criterion.energy(system, rng, **needed)[live])
    return result
