"""A checkpoint's network, made ready for some sequences and run on batches of them on all devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from last_cli.base.annotations import Float
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import follow_padding, model_spec, network_of, read_variables, systems_of
from last_cli.evaluation.inputs import Inputs, check_fit
from last_cli.families.network import Network, Spec, Systems, Variables, Watch

MICRO_BATCH, MOST = 4, 16
"""Sequences that a device takes at once, and how many where they are short."""
STEPS = 1024
"""Of more than MICRO_BATCH sequences, together."""


@dataclass(frozen=True, eq=False)
class Model:
    """A checkpoint's model for sequences of one length.

    Attributes:
        watch: the network with a tap at every layer.
        variables: for the functions of `watch`, with the layers' systems in them.
        systems: of the layers by name.
    """

    network: Network
    spec: Spec
    watch: Watch
    variables: Variables
    systems: Systems


def model(checkpoint: Checkpoint, inputs: Inputs) -> Model:
    """The model as these sequences want it.

    Raises:
        CheckpointError: the tree is no model that can be built.
        DataError: the model does not take such sequences.
    """
    checkpoint = follow_padding(checkpoint, inputs.lengths is not None)
    network, spec = network_of(checkpoint), model_spec(checkpoint)
    check_fit(inputs, spec)
    watch, systems = network.watch(spec), systems_of(checkpoint)
    variables = jax.tree.map(jnp.asarray, read_variables(checkpoint))
    return Model(network, spec, watch, watch.variables(variables, systems, inputs.length), systems)


def sharded(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run` with its batch spread over the devices; its outputs are stacked along their first axis."""
    return jax.jit(
        jax.shard_map(
            run,
            mesh=_mesh(),
            in_specs=(PartitionSpec(), *[PartitionSpec("data")] * 4),
            out_specs=PartitionSpec("data"),
            check_vma=False,
        )
    )


def on_all_devices(
    run: Callable[..., Any],
    variables: Any,
    inputs: Inputs,
    each: np.ndarray,
    progress: Progress | None,
    start: int = 0,
    what: str = "calibrate",
) -> Iterator[Any]:
    """A program made by `sharded` on every batch from the sequence `start` on; `progress` calls it `what`.

    It gets the variables, sequences, their lengths, what `each` has for them, and 1, or 0 for what fills a batch up.
    """
    n, size = len(inputs.x), chunk(inputs)
    if progress and start < n:
        progress(what, start, n)
    for done, found in _batches(run, variables, inputs, each, range(start, n, size)):
        yield found
        if progress:
            progress(what, done, n)


def centred_logits(run: Callable[..., Any], variables: Any, inputs: Inputs) -> Float[np.ndarray, "n classes"]:
    """Of all sequences, by a program made by `sharded`, in double precision."""
    n, unused = len(inputs.x), np.zeros((len(inputs.x), 1), np.float32)
    parts = _batches(run, variables, inputs, unused, range(0, n, chunk(inputs)))
    found = np.concatenate([np.asarray(part) for _, part in parts])[:n].astype(np.float64)
    return found - found.mean(axis=1, keepdims=True)


def _batches(
    run: Callable[..., Any], variables: Any, inputs: Inputs, each: np.ndarray, firsts: range
) -> Iterator[tuple[int, Any]]:
    """How many sequences are done, and what the program found, of the batches that begin at these.

    The devices are at the next batch while the caller takes what one of them found.
    """
    mesh, n = _mesh(), len(inputs.x)
    shared, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    variables = jax.device_put(variables, shared)
    lengths = np.full(inputs.samples, inputs.length, np.int32) if inputs.lengths is None else inputs.lengths
    begun: list[tuple[int, Any]] = []
    for first in firsts:
        rows = np.arange(first, first + firsts.step)
        index, counts = np.minimum(rows, n - 1), (rows < n).astype(np.float32)
        batch = jax.device_put((inputs.x[index], lengths[index], each[index], counts), split)
        with jax.default_matmul_precision("highest"):
            begun.append((min(first + firsts.step, n), run(variables, *batch)))
        if len(begun) > 1:
            yield begun.pop(0)
    yield from begun


def chunk(inputs: Inputs) -> int:
    """Sequences that all devices take at once."""
    fit = STEPS // (inputs.documents * inputs.length)
    return len(jax.devices()) * min(max(fit, MICRO_BATCH), MOST)


def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("data",))
