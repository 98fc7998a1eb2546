"""`inference.forward` compiled for a chunk of sequences over all devices, and kept for checkpoints of equal shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from last_cli.folding import Params
from last_cli.inference import forward
from last_cli.spec import ModelSpec

# Half of XLA's own choice lies idle where a CPU has AVX-512; elsewhere two registers take the place of one.
CPU_OPTIONS: dict[str, str | bool] = {"xla_cpu_prefer_vector_width": "512"}

Predict = Callable[[np.ndarray, np.ndarray], Any]


def predictor(
    spec: ModelSpec,
    params: Params,
    devices: list[Any],
    rounds: int,
    micro: int,
    x: jax.ShapeDtypeStruct,
    lengths: jax.ShapeDtypeStruct,
) -> Predict:
    """A function from a chunk of sequences and lengths to log-probabilities (chunk, classes), compiled already.

    A chunk has len(devices) * rounds * micro sequences, `micro` of which a device takes at a time; `x` and `lengths`
    say its shapes and types. Parameters are the program's arguments, so that it serves all checkpoints of their shapes.
    """
    mesh = Mesh(np.array(devices), ("data",))
    shared, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    params = jax.device_put(params, shared)
    leaves, tree = jax.tree.flatten(jax.tree.map(_shape, params))
    run = _compiled(spec, tree, tuple(leaves), mesh, rounds, micro, _placed(x, split), _placed(lengths, split))
    return lambda x, lengths: run(params, jax.device_put(x, split), jax.device_put(lengths, split))


@lru_cache(maxsize=32)
def _compiled(
    spec: ModelSpec, tree: Any, leaves: tuple[Any, ...], mesh: Mesh, rounds: int, micro: int, x: Any, lengths: Any
) -> Any:
    platform = mesh.devices.flat[0].platform

    def one_device(params: Params, x: Any, lengths: Any) -> Any:
        x, lengths = (a.reshape(rounds, micro, *a.shape[1:]) for a in (x, lengths))
        out = jax.lax.map(lambda part: forward(spec, params, part[0], part[1], platform), (x, lengths))
        return out.reshape(rounds * micro, -1)

    sharded = jax.shard_map(
        one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("data"), PartitionSpec("data")),
        out_specs=PartitionSpec("data"),
        check_vma=False,
    )
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(sharded).lower(jax.tree.unflatten(tree, leaves), x, lengths)
        return lowered.compile(compiler_options=CPU_OPTIONS if platform == "cpu" else None)


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)


def _placed(array: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, jax.dtypes.canonicalize_dtype(array.dtype), sharding=sharding)
