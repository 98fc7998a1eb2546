"""What a criterion is: energies per unit, and how a layer's energies become comparable scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from last_cli.base.annotations import Bool, Float

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
    """A way to score units; the higher the score, the more a unit matters.

    What the energies depend on is named in `needs`, and given to `energy` under these names:

        system: the layer's System, discretised in `dtype`.
        live: which units may add anything, bool (G, N).
        rng: a random generator, of the recipe's seed and the layer's place.
        horizon: a number of steps, by default the trained length.
        sensitivity: E |d logits / d gate|^2 of a factor on each unit's share of the output, (G, N), for which the
            network runs on input sequences (see calibration.measurements.Measurement).
        measured: what stands for its energies, see `measure`: then it scores no System.

    Attributes:
        name: what recipes call it.
        summary: one line for `last list criteria`.
        energy: what it needs -> energies (G, N).
        needs: names of the above.
        targets: units that it can score wherever they are; empty where it can score any.
        normalise: energies of a layer's live units (n,) -> scores (n,).
        normalise_measured: the same for what stands for its energies; None is `normalise`.
        measure: what stands for its energies where a layer is no System but has some of this name; see Family.energies
            and Family.on_inputs.
        dtype: precision in which the system is discretised and the energies are computed.
        ties: whether units that score as much as the last kept one stay, or go together with it, as in released code;
            None keeps exactly the asked number.
        scope: within which its scores are to be ranked where nothing else is asked for; None is what the target has.
        min_states: units that every layer keeps at least, whatever was asked for.
        readouts: what stands for energies of the readouts of units, by which these are chosen apart from them; see
            `measure`. None where units stay or go as a whole.
        makes_up: a constant is added for the mean of what goes, where the family has one; see Family.made_up.
    """

    name: str
    summary: str
    energy: Energy
    needs: tuple[str, ...] = ("system",)
    targets: tuple[str, ...] = ("states",)
    normalise: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]] = as_is
    normalise_measured: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]] | None = None
    measure: str | None = None
    dtype: type[np.floating] = np.float64
    ties: Literal["stay", "go"] | None = None
    scope: Literal["global", "layer"] | None = None
    min_states: int = 0
    readouts: str | None = None
    makes_up: bool = False


def scores(
    criterion: Criterion, live: Bool[np.ndarray, "G N"], available: Mapping[str, Any]
) -> Float[np.ndarray, "G N"]:
    """Scores of one layer's units; those that are not live score 0.

    `available` holds what the criterion needs, or "measured", the energies that stand for its own.
    """
    result = np.zeros(live.shape, criterion.dtype)
    normalise = criterion.normalise
    if "measured" in available:
        energy, normalise = available["measured"], criterion.normalise_measured or normalise
    else:
        energy = criterion.energy(**{name: available[name] for name in criterion.needs})
    result[live] = normalise(energy[live])
    return result
