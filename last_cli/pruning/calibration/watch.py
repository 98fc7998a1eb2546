"""A checkpoint's classifier, run on batches of sequences on all devices, with its SSM layers watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.evaluate import build_model
from last_cli.evaluation.inputs import Inputs, check_fit
from last_cli.families.lti.network.documents import apart
from last_cli.families.lti.network.module import SSM, prepared_systems
from last_cli.families.lti.network.spec import read_spec
from last_cli.families.lti.system import System

MICRO_BATCH = 4


def network(checkpoint: Checkpoint, inputs: Inputs) -> tuple[Any, Any, dict[str, System]]:
    """The classifier, its variables with the systems prepared, and the systems by block."""
    if checkpoint.origins["padded"] == "assumed":  # as the data have it, which is what `evaluate` does too
        checkpoint = replace(checkpoint, config=replace(checkpoint.config, padded=inputs.lengths is not None))
    spec = read_spec(checkpoint.leaves, checkpoint.layers, checkpoint.config)
    check_fit(inputs, spec)
    systems = {block_of(layer.name): checkpoint.system(layer) for layer in checkpoint.layers}
    model, variables = build_model(checkpoint)
    return model, variables | {"system": prepared_systems(spec, systems, inputs.length)}, systems


def block_of(name: str) -> str:
    """The name of the block that a layer's name is in."""
    return name.split("/")[-2]


def bumps(model: Any, systems: Mapping[str, System], x: Any) -> dict[str, Any]:
    """What `watched` adds to each layer's outputs, a row for each document: zeros to take derivatives by."""
    sequences, length = apart(model.spec, x, None)[0].shape[:2]
    return {name: jnp.zeros((sequences, length, model.spec.d_model)) for name in systems}


def watched(model: Any, variables: Any, x: Any, lengths: Any, bumps: Any) -> tuple[Any, dict[str, Any]]:
    """Logits with something added to every SSM layer's outputs, and the layers' inputs."""
    seen: dict[str, Any] = {}

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if not isinstance(context.module, SSM) or context.method_name != "__call__":
            return call(*args, **kwargs)
        name = context.module.path[-2]
        seen[name] = args[0]
        return call(*args, **kwargs) + bumps[name]

    with nn.intercept_methods(intercept):
        return model.apply(variables, x, lengths), seen


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
    signs: np.ndarray,
    progress: Progress | None,
    start: int = 0,
    what: str = "calibrate",
) -> Iterator[Any]:
    """A program made by `sharded` on every batch from the sequence `start` on; `progress` calls it `what`."""
    mesh = _mesh()
    shared, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    variables = jax.device_put(variables, shared)
    n, size = len(inputs.x), chunk()
    lengths = np.full(inputs.samples, inputs.length, np.int32) if inputs.lengths is None else inputs.lengths
    for first in range(start, n, size):
        rows = np.arange(first, first + size)
        index, counts = np.minimum(rows, n - 1), (rows < n).astype(np.float32)
        batch = [jax.device_put(a, split) for a in (inputs.x[index], lengths[index], signs[index], counts)]
        with jax.default_matmul_precision("highest"):
            yield run(variables, *batch)
        if progress:
            progress(what, min(first + size, n), n)


def chunk() -> int:
    """Sequences that all devices take at once."""
    return len(jax.devices()) * MICRO_BATCH


def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("data",))
