"""The compiled program: a checkpoint's log-probabilities for some micro-batches of sequences, on all devices.

Micro-batches are dealt out to the devices in turns, and each device loops over its own: small ones stay in a CPU's
cache. The loop is compiled without knowing how often it runs. So a last, smaller call costs no more than what is in it,
and a sequence meets the same instructions, in the same place of a micro-batch, whatever the number of devices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from last_cli.loading import Checkpoint
from last_cli.model import SSM, Classifier, prepared_systems
from last_cli.variables import model_spec, read_variables


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
        rows: sequences that a call takes at most, `micro` of them side by side.
        seconds: what compiling took.
        bytes: memory that a call needs on one device: inputs, outputs, parameters and intermediate results.
    """

    call: Callable[[np.ndarray, np.ndarray], Any]
    rows: int
    micro: int
    seconds: float
    bytes: int

    def start(self, x: np.ndarray, lengths: Int[np.ndarray, " n"]) -> Callable[[], Float[np.ndarray, "n classes"]]:
        """Begin with n sequences; what comes back waits for their log-probabilities."""
        out = self.call(x, lengths)
        return lambda: out()[: len(x)]


def build(
    checkpoint: Checkpoint,
    devices: Sequence[Any],
    shape: tuple[int, ...],
    dtype: Any,
    *,
    micro: int,
    rounds: int,
    precision: str = "float32",
) -> Program:
    """Compile for sequences of a shape and type: (length,) of whole numbers, or (length, features) of float32.

    Args:
        micro: sequences that a device takes side by side.
        rounds: micro-batches that a device runs in a call, at most.
        precision: of products and activations; states are always summed up in float32.

    Raises:
        CheckpointError: the tree is no classifier that can be built.
    """
    started = time.perf_counter()
    mesh = Mesh(np.array(devices), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    forward, classes, variables = _forward(checkpoint, shape[0], precision)
    variables = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))

    def one_device(variables: Any, x: Any, lengths: Any, count: Any) -> Any:
        def step(i: Any, out: Any) -> Any:
            return out.at[i].set(forward(variables, x[0, i], lengths[0, i]))

        return jax.lax.fori_loop(0, count[0], step, jnp.zeros((rounds, micro, classes)))[None]

    data = PartitionSpec("data")
    sharded = jax.shard_map(
        one_device, mesh=mesh, in_specs=(PartitionSpec(), data, data, data), out_specs=data, check_vma=False
    )
    table = (len(devices), rounds)
    inputs = [((*table, micro, *shape), dtype), ((*table, micro), np.int32), ((len(devices),), np.int32)]
    with jax.default_matmul_precision("highest"):
        abstract = [jax.ShapeDtypeStruct(s, d, sharding=split) for s, d in inputs]
        run = jax.jit(sharded).lower(variables, *abstract).compile()

    def call(x: np.ndarray, lengths: np.ndarray) -> Callable[[], np.ndarray]:
        used = -(-len(x) // micro)
        counts = np.array([len(range(d, used, table[0])) for d in range(table[0])], np.int32)
        parts = [_deal(x, *table, micro), _deal(lengths.astype(np.int32), *table, micro), counts]
        out = run(variables, *(jax.device_put(part, split) for part in parts))
        return lambda: np.asarray(out).swapaxes(0, 1).reshape(-1, classes)

    memory: Any = run.memory_analysis()
    needed = sum(getattr(memory, f"{part}_size_in_bytes", 0) for part in ("argument", "output", "temp"))
    return Program(call, len(devices) * rounds * micro, micro, time.perf_counter() - started, int(needed))


def _forward(checkpoint: Checkpoint, length: int, precision: str) -> tuple[Callable[..., Any], int, Mapping[str, Any]]:
    """The forward pass of a micro-batch, how many classes it tells apart, and the variables that it takes."""
    spec = model_spec(checkpoint)
    systems = {layer.name.split("/")[-2]: checkpoint.system(layer) for layer in checkpoint.layers}
    prepared = prepared_systems(spec, systems, length)
    variables, model = read_variables(checkpoint), Classifier(spec)
    if precision == "float32":
        return model.apply, spec.d_output, variables | {"system": prepared}

    def cast(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, SSM) and context.method_name == "__call__":
            return call(args[0].astype(jnp.float32)).astype(jnp.bfloat16)
        out = call(*args, **kwargs)
        return out.astype(jnp.float32) if context.module.name == "decoder" else out

    def forward(variables: Any, x: Any, lengths: Any) -> Any:
        tokens = jnp.issubdtype(x.dtype, jnp.integer)
        with nn.intercept_methods(cast):
            return model.apply(variables, x if tokens else x.astype(jnp.bfloat16), lengths)

    small = jax.tree.map(lambda array: array.astype(jnp.bfloat16), variables)
    return forward, spec.d_output, small | {"system": prepared}


def _deal(rows: np.ndarray, devices: int, rounds: int, micro: int) -> np.ndarray:
    """(devices, rounds, micro, ...), micro-batches dealt out in turns; what is missing repeats the last row."""
    index = np.minimum(np.arange(devices * rounds * micro), len(rows) - 1)
    return rows[index.reshape(rounds, devices, micro).swapaxes(0, 1)]
