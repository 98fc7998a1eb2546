"""What a criterion needs beyond a layer's own numbers: a horizon, or what the network shows of each unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning.recipe import Recipe

if TYPE_CHECKING:
    from last_cli.pruning.calibration.observe import Observation

ASSUMED_HORIZON = 1024


@dataclass(frozen=True)
class Needs:
    """What a recipe's criterion was given.

    Attributes:
        recipe: with its target and its horizon filled in.
        sensitivity: (G, N) for each layer by name; empty where the criterion runs no network.
        means: of what was measured on text, for each layer by name, by the quantities' own; see Family.on_inputs.
        said: what was given, for report and stamp: the horizon, or where the input sequences come from.
        assumed: what nothing but our assumption decides.
    """

    recipe: Recipe
    sensitivity: Mapping[str, np.ndarray] = field(default_factory=dict)
    means: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)

    def of(self, layer: str) -> dict[str, Any]:
        """For one layer, by the names that criteria use."""
        given: dict[str, Any] = {} if self.recipe.horizon is None else {"horizon": self.recipe.horizon}
        return given | ({"sensitivity": self.sensitivity[layer]} if layer in self.sensitivity else {})


def needs_of(checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None = None) -> Needs:
    """What the recipe's criterion needs.

    Raises:
        CheckpointError: the tree is no network, where one must run; or it overflows.
        UsageError: the layers have nothing that the recipe can remove.
    """
    recipe = recipe.on(checkpoint.layers)
    needs = recipe.scoring.needs
    if "sensitivity" in needs:
        assert observation is not None
        return Needs(recipe, observation.sensitivity, said={"calibration": dict(observation.source)})
    if recipe.text != "no":
        if observation is None or observation.inputs is None:
            return Needs(recipe)
        means = observation.means((recipe.scoring.measure or "", recipe.target or ""))
        measured = {"measured": sorted({name for quantities in means.values() for name in quantities})}
        return Needs(recipe, means=means, said={"calibration": {**observation.source, **measured}})
    if "horizon" in needs:
        horizon, assumed = (recipe.horizon, False) if recipe.horizon else _horizon(checkpoint)
        said = {"horizon": horizon}
        return Needs(replace(recipe, horizon=horizon), said=said, assumed=said if assumed else {})
    return Needs(recipe)


def _horizon(checkpoint: Checkpoint) -> tuple[int, bool]:
    """The trained length, or, where nothing tells it, what is assumed instead."""
    from last_cli.evaluation.inputs import trained_length

    try:
        return trained_length(checkpoint), False
    except UsageError:
        return ASSUMED_HORIZON, True
