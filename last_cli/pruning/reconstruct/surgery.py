"""In which order units of a language model's mixers go: greedily, by what the others cannot make up for.

What a mixer puts out is W y with W its out_proj, and a unit owns columns of W. With the products of each two columns of
y on calibration text, optimal brain surgery (see eliminate) says what a removal costs if the columns that are left are
chosen anew; that is repeated until none is left, and is the order within a layer. What a layer's last units are worth
against those of others is what the loss minds of them (`taylor`): a layer's scores are these, dealt out in that order.
States own no columns, and are ranked by their measured gains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from last_cli.base.annotations import Bool, Float, Int
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of
from last_cli.families.target import Units, put
from last_cli.formats import Key
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.needs import needs_of
from last_cli.pruning.recipe import BY_CRITERION, Recipe
from last_cli.pruning.reconstruct.eliminate import eliminate, problem
from last_cli.pruning.reconstruct.projection import Projected
from last_cli.pruning.score import score_layers
from last_cli.results.score import LayerScore

MEASURE = "hinf"
MINDED = "taylor"
"""Criteria: by which states are ranked, and what other units' layers are worth."""
WRITER = "out_proj"


@dataclass(frozen=True)
class _Owned:
    """A layer by name, its leaf that writes to the stream, and the units that own columns of it."""

    layer: str
    leaf: str
    units: Units


def ranked(
    checkpoint: Checkpoint, recipe: Recipe, observation: Observation, progress: Progress | None = None
) -> Projected:
    """The units of a recipe's target, scored in the order in which they go.

    Raises:
        CheckpointError: the tree is no network that can run, or what it computes is not finite.
        DataError: the network does not take such text.
        UsageError: the layers have no such units.
    """
    owned = _owned(checkpoint, recipe.target or "")
    criterion = MINDED if owned else MEASURE
    needs = needs_of(checkpoint, replace(recipe, criterion=criterion, method=BY_CRITERION), observation)
    scored, warnings = score_layers(checkpoint, needs)
    if owned:
        orders = _orders(checkpoint, owned, scored, observation, progress)
        scored = [replace(own, scores=dealt(own.scores, orders[own.name])) for own in scored]
    return Projected(checkpoint, recipe, scored, warnings, assumed=needs.assumed, method="reconstruct")


def dealt(values: Float[np.ndarray, "G N"], order: Int[np.ndarray, " units"]) -> Float[np.ndarray, "G N"]:
    """The same numbers, rising in an order of the units."""
    found = np.empty(values.size)
    found[order] = np.sort(values.ravel())
    return found.reshape(values.shape)


def order_of(
    weight: Float[np.ndarray, "d m"],
    gram: Float[np.ndarray, "m m"],
    columns: Int[np.ndarray, "units b"],
    live: Bool[np.ndarray, " units"],
) -> Int[np.ndarray, " units"]:
    """The units, each in its turn: the one first whose removal costs least if the others make up for it.

    Args:
        weight: W.
        gram: products of what W reads, summed over the text.
        columns: of W, that each unit owns.
        live: those that are there; the others go first.
    """
    places = columns.ravel()
    layer = problem(weight[:, places][None], gram[np.ix_(places, places)][None], live[None])
    return eliminate(layer).order[0]


def columns_of(units: Units, leaf: str, width: int) -> Int[np.ndarray, "units b"]:
    """Which entries along the last axis of a leaf of this width each unit owns, group after group."""
    one, found = np.ones(width, bool), []
    for unit in np.eye(units.groups * units.count, dtype=bool):
        found.append(np.flatnonzero(put(~one, units.segments[leaf], unit.reshape(units.groups, -1), one)))
    return np.array(found)


def _owned(checkpoint: Checkpoint, target: str) -> dict[Key, _Owned]:
    """Every layer and its leaf, whose columns the units own, that writes to the stream; none where a layer has none."""
    blockwise, leaves = network_of(checkpoint).blockwise, {".".join(key): key for key in checkpoint.leaves}
    parts = blockwise.parts(model_spec(checkpoint)) if blockwise else ()
    writers = {leaves.get(f"{part.prefix}.{x.tensor}") for part in parts for x in part.linears if x.module == WRITER}
    found = {}
    for layer in checkpoint.layers:
        own = [(key, name) for name, key in layer.leaves.items() if key in writers]
        if not own or own[0][1] not in layer.units[target].segments:
            return {}
        key, leaf = own[0]
        found[key] = _Owned(layer.name, leaf, layer.units[target])
    return found


def _orders(
    checkpoint: Checkpoint,
    owned: Mapping[Key, _Owned],
    scored: Sequence[LayerScore],
    observation: Observation,
    progress: Progress | None,
) -> dict[str, Int[np.ndarray, " units"]]:
    """The order of every layer's units, by its name; one block's tensors and products are there at a time."""
    from last_cli.pruning.sparse.stream import blocks

    assert observation.inputs is not None
    live, found = {own.name: own.live.ravel() for own in scored}, {}
    for block in blocks(checkpoint, observation.inputs):
        for linear in block.part.linears:
            own = owned.get(block.keys.get(linear.tensor, ()))
            if own is None:
                continue
            weight = block.tensors[linear.tensor].astype(np.float64)
            columns = columns_of(own.units, own.leaf, weight.shape[1])
            found[own.layer] = order_of(weight, block.gram(linear.place), columns, live[own.layer])
            if progress:
                progress("eliminate", len(found), len(scored))
        block.forward()
    return found
