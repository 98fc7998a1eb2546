"""What a network measures on sequences where its layers are no Systems: means of its units' quantities, and changes.

Batches stream through the whole model, and of each sequence only a few numbers a unit leave the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of, read_variables, systems_of
from last_cli.evaluation.inputs import Inputs, check_fit
from last_cli.evaluation.measure import refuse_broken
from last_cli.families.network import Network, Spec
from last_cli.pruning.calibration import resume
from last_cli.pruning.calibration.watch import chunk, on_all_devices, sharded

WEIGHTS, SUMS, BROKEN = "weights", "sum", "broken"
"""What is kept beside the layers' quantities: how much all sequences weigh, and how many are broken."""


def quantity_means(
    checkpoint: Checkpoint, inputs: Inputs, name: tuple[str, str], progress: Progress | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """The means of each layer's quantities, by the layer's name and their own, for the energies of this name.

    Where the network keeps them apart, a row for each sequence instead.

    Raises:
        CheckpointError: the tree is no network that can run, or what it computes is not finite.
        DataError: the network does not take such sequences.
    """
    network, spec = network_of(checkpoint), model_spec(checkpoint)
    check_fit(inputs, spec)
    params = _params(network, spec, checkpoint, inputs)
    key = {**resume.key_of(checkpoint, inputs, 0, params), "energies": list(name)}
    totals, done = resume.load(key)
    save, n = resume.saver(key, len(inputs.x)), len(inputs.x)
    run, apart = _program(network, spec, name), name in network.apart
    for found, weights in on_all_devices(run, params, inputs, _skips(inputs), progress, done):
        part = _sums(found, weights, min(chunk(inputs), n - done), apart=apart)
        totals = part if totals is None else _added(totals, part, apart=apart)
        done = min(done + chunk(inputs), n)
        save(totals, done)
    assert totals is not None
    rest = totals.pop(WEIGHTS)
    refuse_broken(checkpoint, int(rest[BROKEN]), n, "calibration")
    if apart:
        return totals
    return {layer: {part: total / rest[SUMS] for part, total in own.items()} for layer, own in totals.items()}


def changes(checkpoint: Checkpoint, other: Checkpoint, inputs: Inputs) -> Float[np.ndarray, "n 2"]:
    """Of each sequence the squares of the change of its centred logits in another checkpoint, and of these, summed.

    Raises:
        CheckpointError: the tree is no network that can run, or its logits are not finite.
        DataError: the network does not take such sequences.
    """
    network, spec = network_of(checkpoint), model_spec(checkpoint)
    check_fit(inputs, spec)
    params = tuple(_params(network, spec, one, inputs) for one in (checkpoint, other))
    found = on_all_devices(_comparison(network, spec), params, inputs, _skips(inputs), None)
    each = np.concatenate([np.asarray(part, np.float64) for part in found])[: len(inputs.x)]
    refuse_broken(checkpoint, int((~np.isfinite(each).all(axis=1)).sum()), len(each), "calibration")
    return each


@lru_cache(maxsize=4)
def _comparison(network: Network, spec: Spec) -> Any:
    change = network.change
    assert change is not None
    return sharded(lambda params, x, lengths, skips, _: change(spec, params[0], params[1], x, lengths, skips))


def _params(network: Network, spec: Spec, checkpoint: Checkpoint, inputs: Inputs) -> Any:
    return network.fold(spec, read_variables(checkpoint), systems_of(checkpoint), inputs.length, "float32")


def _skips(inputs: Inputs) -> Int[np.ndarray, " n"]:
    return np.zeros(len(inputs.x), np.int32) if inputs.skips is None else inputs.skips


@lru_cache(maxsize=4)
def _program(network: Network, spec: Spec, name: tuple[str, str]) -> Any:
    observe = network.observed[name]
    return sharded(lambda params, x, lengths, skips, _: observe(spec, params, x, lengths, skips))


def _sums(found: Mapping[str, Mapping[str, Any]], weights: Any, rows: int, *, apart: bool) -> resume.Sums:
    """Sums over the sequences of a batch that do not just fill it up; or each apart, in single precision."""
    values = {
        layer: {part: np.asarray(each, np.float64)[:rows] for part, each in own.items()} for layer, own in found.items()
    }
    finite = [np.isfinite(each.reshape(rows, -1)).all(axis=1) for own in values.values() for each in own.values()]
    sums = {
        layer: {part: each.astype(np.float32) if apart else each.sum(axis=0) for part, each in own.items()}
        for layer, own in values.items()
    }
    total = np.asarray(weights, np.float64)[:rows].sum()
    return {**sums, WEIGHTS: {SUMS: total, BROKEN: (~np.all(finite, axis=0)).sum()}}


def _added(one: resume.Sums, other: resume.Sums, *, apart: bool) -> resume.Sums:
    def both(layer: str, first: Any, second: Any) -> Any:
        return np.concatenate([first, second]) if apart and layer != WEIGHTS else first + second

    return {
        layer: {part: both(layer, total, other[layer][part]) for part, total in own.items()}
        for layer, own in one.items()
    }
