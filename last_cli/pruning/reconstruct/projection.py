"""What layers that are no Systems put out, refitted on text after any choice of units: see Network.refit."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of
from last_cli.evaluation.inputs import Inputs, check_fit
from last_cli.formats import Key
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.compact import compact
from last_cli.pruning.method import Pruned
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.removal import pruned
from last_cli.pruning.score import with_keep
from last_cli.results.score import LayerScore

MEANING = {
    "refitted": "leaves of every layer that have new values in kept units, in closed form on the calibration text"
}


@dataclass(frozen=True, eq=False)
class Projected:
    """Units that were scored, to be refitted once some of them are gone.

    Attributes:
        recipe: with its target filled in.
        said, assumed: see Needs.
        method: what the stamp calls it.
    """

    checkpoint: Checkpoint
    recipe: Recipe
    scored: Sequence[LayerScore]
    warnings: Sequence[str] = ()
    said: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    method: str = "refit"


@dataclass(frozen=True, eq=False)
class ProjectionPlan:
    """Scores of all units of layers that are no Systems, and the text on which what they put out is refitted."""

    found: Projected
    inputs: Inputs
    progress: Progress | None = None

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan."""
        found, checkpoint = self.found, self.found.checkpoint
        recipe = replace(found.recipe, masked=found.recipe.masked or draft)
        scored = with_keep(found.scored, recipe, ratio)
        masks = {s.name: s.keep for s in scored if s.keep is not None}
        changed, names = refitted(checkpoint, masks, recipe.target or "states", self.inputs, self.progress)
        source = {**self.inputs.source, "digest": self.inputs.digest}
        settings = {**recipe.settings, "calibration": source, **found.said}
        settings |= {"method": found.method, "changes": [], "refitted": names}
        small = pruned(changed, scored, recipe, ratio, settings)
        uncut = compact(checkpoint, masks, {"ratio": ratio, **settings, "masked": recipe.masked}, masked=recipe.masked)
        report = replace(
            small.report,
            checkpoint=checkpoint.source,
            method=found.method,
            refitted_on=source,
            settings={"refitted": names},
            meaning=MEANING,
            assumed={**small.report.assumed, **found.assumed},
            warnings=[*found.warnings, *small.report.warnings],
        )
        return Pruned(replace(small.checkpoint, stamp=uncut.stamp), report)


def text_of(observation: Observation | None) -> Inputs:
    """The text to refit on.

    Raises:
        UsageError: there is none, or the network refits nothing.
    """
    assert observation is not None
    if network_of(observation.checkpoint).refit is None:
        name = observation.checkpoint.layers[0].family.name
        raise UsageError(f"the family '{name}' cannot refit C, nor what it puts out", "prune it by a criterion")
    if observation.inputs is None:
        raise UsageError(
            "a refit needs text for a language model, and none is given", "add ⟦calibration_file corpus.txt⟧"
        )
    return observation.inputs


class Tensors(Mapping[str, np.ndarray]):
    """The arrays of a checkpoint by their names joined by dots, in single precision; each is read when asked for."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._read = checkpoint.read
        self._keys = {".".join(key): key for key, leaf in checkpoint.leaves.items() if leaf.kind == "array"}

    def __getitem__(self, name: str) -> np.ndarray:
        key = self._keys[name]
        return self._read([key])[key].astype(np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def refitted(
    checkpoint: Checkpoint,
    masks: Mapping[str, np.ndarray],
    target: str,
    inputs: Inputs,
    progress: Progress | None = None,
) -> tuple[Checkpoint, list[str]]:
    """The checkpoint, uncut, with leaves as they are best once these units are gone; and the names of the leaves.

    Raises:
        CheckpointError: the tree is no network that can run, or what it computes is not finite.
        DataError: the network does not take such sequences.
    """
    network, spec = network_of(checkpoint), model_spec(checkpoint)
    check_fit(inputs, spec)
    refit = network.refit
    assert refit is not None
    masked = compact(checkpoint, masks, {"target": target}, masked=True)
    skips = np.zeros(len(inputs.x), np.int32) if inputs.skips is None else inputs.skips
    found = refit(spec, Tensors(checkpoint), Tensors(masked), inputs.x, inputs.lengths, skips, progress)
    changed: dict[Key, np.ndarray] = {}
    for layer in checkpoint.layers:
        for name, array in found.get(layer.name, {}).items():
            if not np.isfinite(array).all():
                raise CheckpointError(f"{layer.name}: {name} cannot be refitted: numbers overflow on the text")
            key = layer.leaves[name]
            changed[key] = array.astype(checkpoint.read([key])[key].dtype)
    names = sorted({name for own in found.values() for name in own})
    return replace(checkpoint, changed=ChainMap(changed, checkpoint.changed)), names  # pyright: ignore[reportArgumentType]
