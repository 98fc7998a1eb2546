"""What layers that are no Systems put out, refitted on text after any choice of units: see Network.refit."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of, read_variables
from last_cli.evaluation.inputs import Inputs, check_fit
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.compact import compact

MEANING = {
    "refitted": "leaves of every layer that have new values in kept units, in closed form on the calibration text"
}


def text_of(observation: Observation | None) -> Inputs:
    """The text to refit on.

    Raises:
        UsageError: there is none, or the network refits nothing.
    """
    if observation is None or observation.inputs is None:
        raise UsageError(
            "⟦refit⟧ needs text for a language model, and none is given", "add ⟦calibration_file corpus.txt⟧"
        )
    if network_of(observation.checkpoint).refit is None:
        name = observation.checkpoint.layers[0].family.name
        raise UsageError(f"the family '{name}' cannot refit C, nor what it puts out", "prune it by a criterion")
    return observation.inputs


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
    params = [network.fold(spec, read_variables(one), {}, inputs.length, "float32") for one in (checkpoint, masked)]
    skips = np.zeros(len(inputs.x), np.int32) if inputs.skips is None else inputs.skips
    found = refit(spec, *params, inputs.x, inputs.lengths, skips, progress)
    changed: dict[Any, np.ndarray] = {}
    for layer in checkpoint.layers:
        for name, array in found.get(layer.name, {}).items():
            if not np.isfinite(array).all():
                raise CheckpointError(f"{layer.name}: {name} cannot be refitted: numbers overflow on the text")
            key = layer.leaves[name]
            changed[key] = array.astype(checkpoint.read([key])[key].dtype)
    names = sorted({name for own in found.values() for name in own})
    return replace(checkpoint, changed=ChainMap(changed, checkpoint.changed)), names  # pyright: ignore[reportArgumentType]
