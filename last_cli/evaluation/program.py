"""The compiled program: a network's outputs for some micro-batches of sequences, on all devices.

Micro-batches are dealt out to the devices in turns, and each device loops over its own: small ones stay in a CPU's
cache. The loop is compiled without knowing how often it runs. So a last, smaller call costs no more than what is in it,
and a sequence meets the same instructions, in the same place of a micro-batch, whatever the number of devices.

Parameters are arguments of the program, which is kept: checkpoints of equal shapes share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from last_cli.base.annotations import Float, Int
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of, read_variables, systems_of
from last_cli.families.network import Network, Spec, check_precision

# Half of XLA's own choice lies idle where a CPU has AVX-512; elsewhere two registers take the place of one.
CPU_OPTIONS: dict[str, str | bool] = {"xla_cpu_prefer_vector_width": "512"}


@dataclass(frozen=True)
class Batching:
    """What a program is called with.

    Attributes:
        shape, dtype: of a sample: (*documents, length) of whole numbers, or (length, features) of float32.
        micro: samples that a device takes side by side.
        rounds: micro-batches that a device runs in a call, at most.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    micro: int
    rounds: int

    @property
    def documents(self) -> tuple[int, ...]:
        """The axes of a sample before its steps."""
        return self.shape[:-1] if np.issubdtype(self.dtype, np.integer) else ()

    @property
    def length(self) -> int:
        """Steps of a sequence."""
        return self.shape[len(self.documents)]


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

    def start(self, x: np.ndarray, lengths: Int[np.ndarray, "n ..."]) -> Callable[[], Float[np.ndarray, "n outputs"]]:
        """Begin with n sequences; what comes back waits for their outputs."""
        out = self.call(x, lengths)
        return lambda: out()[: len(x)]


def build(checkpoint: Checkpoint, devices: Sequence[Any], batching: Batching, precision: str = "float32") -> Program:
    """A checkpoint's program, see `program`.

    Args:
        checkpoint: the model.
        devices: of JAX, which share the sequences.
        batching: how many sequences a call takes, and of which shape and type.
        precision: of products and activations; states are always summed up in float32.

    Raises:
        CheckpointError: the tree is no model that can be built.
        UsageError: a precision that the network does not have.
    """
    network, spec = network_of(checkpoint), model_spec(checkpoint)
    check_precision(precision, network.precisions)
    systems, variables = systems_of(checkpoint), read_variables(checkpoint)
    params = network.fold(spec, variables, systems, batching.length, precision)
    return program(network, spec, params, devices, batching)


def program(network: Network, spec: Spec, params: Any, devices: Sequence[Any], batching: Batching) -> Program:
    """Compile a network for some devices.

    Args:
        network: what the model is built by.
        spec: of the model.
        devices: of JAX, which share the sequences.
        batching: how many sequences a call takes, and of which shape and type.
        params: what `network.fold` made for sequences of the same length.
    """
    started = time.perf_counter()
    rounds, micro = batching.rounds, batching.micro
    mesh = Mesh(np.array(devices), ("data",))
    shared, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    params = jax.device_put(params, shared)
    leaves, tree = jax.tree.flatten(jax.tree.map(_abstract, params))
    run = _compiled(network, spec, tree, tuple(leaves), mesh, batching)

    def call(x: np.ndarray, lengths: np.ndarray) -> Callable[[], np.ndarray]:
        used = -(-len(x) // micro)
        counts = np.array([len(range(d, used, len(devices))) for d in range(len(devices))], np.int32)
        parts = [_deal(a, len(devices), rounds, micro) for a in (x, lengths.astype(np.int32))]
        out = run(params, *(jax.device_put(part, split) for part in (*parts, counts)))
        return lambda: np.asarray(out).swapaxes(0, 1).reshape(-1, out.shape[-1])

    memory: Any = run.memory_analysis()
    needed = sum(getattr(memory, f"{part}_size_in_bytes", 0) for part in ("argument", "output", "temp"))
    return Program(call, len(devices) * rounds * micro, micro, time.perf_counter() - started, int(needed))


@lru_cache(maxsize=32)
def _compiled(
    network: Network, spec: Spec, tree: Any, leaves: tuple[jax.ShapeDtypeStruct, ...], mesh: Mesh, batching: Batching
) -> Any:
    rounds, micro = batching.rounds, batching.micro
    platform = mesh.devices.flat[0].platform

    def one_device(params: Any, x: Any, lengths: Any, count: Any) -> Any:
        def step(i: Any, out: Any) -> Any:
            return out.at[i].set(network.forward(spec, params, x[0, i], lengths[0, i], platform))

        outputs = network.outputs(spec, batching.length)
        return jax.lax.fori_loop(0, count[0], step, jnp.zeros((rounds, micro, outputs)))[None]

    data = PartitionSpec("data")
    sharded = jax.shard_map(
        one_device, mesh=mesh, in_specs=(PartitionSpec(), data, data, data), out_specs=data, check_vma=False
    )
    split, table = NamedSharding(mesh, data), (mesh.devices.size, rounds, micro)
    inputs = [
        ((*table, *batching.shape), batching.dtype),
        ((*table, *batching.documents), np.int32),
        (table[:1], np.int32),
    ]
    abstract = [jax.ShapeDtypeStruct(s, jax.dtypes.canonicalize_dtype(d), sharding=split) for s, d in inputs]
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(sharded).lower(jax.tree.unflatten(tree, leaves), *abstract)
        return lowered.compile(compiler_options=CPU_OPTIONS if platform == "cpu" else None)


def _abstract(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)


def _deal(rows: np.ndarray, devices: int, rounds: int, micro: int) -> np.ndarray:
    """(devices, rounds, micro, ...), micro-batches dealt out in turns; what is missing repeats the last row."""
    index = np.minimum(np.arange(devices * rounds * micro), len(rows) - 1)
    return rows[index.reshape(rounds, devices, micro).swapaxes(0, 1)]
