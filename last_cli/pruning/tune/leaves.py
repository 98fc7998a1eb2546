"""Which numbers of a layer are trained: what its poles, B and C are made of, of the states that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Bool, Float, Int, Shaped
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.layer import Layer
from last_cli.families.lti.config import ModelConfig
from last_cli.families.target import owners
from last_cli.formats import Key

REACH = 10.0
"""A pole may become so slow that it remembers this many times the sequences' length, or as slow as it was."""


@dataclass(frozen=True, eq=False)
class Trained:
    """One layer's trained leaves.

    Attributes:
        layer: of the checkpoint.
        keys: of the trained leaves, by name.
        stored: their arrays as they were, by name.
        owners: for each entry of these the unit that owns it, counted through all groups, or -1.
        live: which units there are, (G, N); the entries of others, such as padding, stay.
        slow: whether a leaf holds poles or steps, and no coefficients, by name.
        limits: |lam| at most, (G, N).
    """

    layer: Layer
    keys: Mapping[str, Key]
    stored: Mapping[str, Shaped[np.ndarray, ...]]
    owners: Mapping[str, Int[np.ndarray, ...]]
    live: Bool[np.ndarray, "G N"]
    slow: Mapping[str, bool]
    limits: Float[np.ndarray, "G N"]

    def free(self, name: str) -> Bool[np.ndarray, ...]:
        """Which entries of a leaf are trained."""
        return np.append(self.live, True)[self.owners[name]]

    def written(self, name: str, values: Float[np.ndarray, ...]) -> Shaped[np.ndarray, ...]:
        """The leaf with other values in its trained entries, in its own precision."""
        old = self.stored[name]
        return np.where(self.free(name), values.astype(old.dtype), old)


def trained(checkpoint: Checkpoint, layer: Layer, length: int) -> Trained:
    """What is trained of a layer, for sequences of a length.

    Raises:
        CheckpointError: its numbers are not finite.
    """
    arrays, system = checkpoint.arrays(layer), checkpoint.system(layer)
    names = entering(layer, arrays, checkpoint.config)
    units = layer.units[layer.family.targets[0].name]
    numbers = {name: owners(arrays[name].shape, units, name) for name in names}
    roles = {name: units.roles(name) or {"dynamics"} for name in names}
    return Trained(
        layer,
        {name: layer.leaves[name] for name in names},
        {name: arrays[name] for name in names},
        numbers,
        checkpoint.live(layer),
        {name: "dynamics" in roles[name] for name in names},
        np.maximum(np.abs(system.lam), np.exp(-1 / (REACH * length))),
    )


def entering(layer: Layer, arrays: Mapping[str, Shaped[np.ndarray, ...]], config: ModelConfig) -> list[str]:
    """Names of the leaves that poles, B or C depend on: what is no number there makes them none."""
    family, found = layer.family, []
    assert family.system is not None
    singles = {name: array.astype(np.float32) for name, array in arrays.items()}
    for name, array in singles.items():
        with np.errstate(all="ignore"):
            system = family.system({**singles, name: np.full_like(array, np.nan)}, config)
        if any(np.isnan(part).any() for part in (system.lam, system.B, system.C)):
            found.append(name)
    return found
