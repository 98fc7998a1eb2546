"""Blocks whose states are driven by all features, in chunks of time.

What lies between the products of a chunk stays in a CPU's cache, and a block's outputs take the place of its inputs.
Where a block follows its states backwards too, a pass over the chunks from the last to the first goes ahead: it leaves
the states that each chunk meets at its end and, while that is little, what drives the states, so that its product is
made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Array, Complex, Float
from last_cli.families.lti.network.scan import recur

CPU_ROWS, ROWS = 256, 2**17  # steps of a chunk, of all its sequences: measured on CPUs; elsewhere they fill a device
KEPT = 2**25  # bytes a sequence, above which what drives the states is made again for closing


@dataclass(frozen=True)
class Block:
    """A block as it is run.

    Attributes:
        folded: the layer's parameters, see `fold.fold`.
        enter: a part of the stream -> the layer's inputs.
        leave: a part of the stream, and the layer's outputs -> the block's outputs.
    """

    folded: dict[str, Any]
    enter: Callable[[Any], Any]
    leave: Callable[[Any, Any], Any]

    @property
    def states(self) -> int:
        """Of a direction."""
        return len(self.folded["lam"])

    def rest(self, stream: Float[Array, "length batch features"]) -> Complex[Array, "batch n"]:
        """The states before anything drove them."""
        return jnp.zeros((stream.shape[1], self.states), self.folded["lam"].dtype)

    @property
    def is_two_way(self) -> bool:
        """Whether states are followed backwards too."""
        return len(self.folded["readout"]) > 2 * self.states


@dataclass(frozen=True)
class Chunks:
    """`count` chunks of `steps` steps each, the last one filled up behind the `length` steps that count."""

    count: int
    steps: int
    length: int
    on_cpu: bool

    def take(self, whole: Any, i: Any) -> Any:
        """The steps of a chunk."""
        return jax.lax.dynamic_slice_in_dim(whole, i * self.steps, self.steps)

    def put(self, whole: Any, i: Any, part: Any) -> Any:
        """The whole with a chunk's steps replaced, and of these the first features where the part has no more."""
        return jax.lax.dynamic_update_slice(whole, part, (i * self.steps, 0, 0))


def recurrence(
    blocks: Sequence[Block], stream: Float[Array, "length batch features"], on_cpu: bool
) -> Float[Array, "length batch features"]:
    """What blocks, one behind the other, make of the stream. On a CPU time passes one step after the other."""
    length, batch = stream.shape[:2]
    count = min(length, -(-length * batch // (CPU_ROWS if on_cpu else ROWS)))
    chunks = Chunks(count, -(-length // count), length, on_cpu)
    stream = jnp.pad(stream, ((0, count * chunks.steps - length), (0, 0), (0, 0)))
    widest = max((2 * block.states for block in blocks if block.is_two_way and count > 1), default=0)
    # One for all blocks: XLA would fill one for each before the first block is run.
    kept = jnp.zeros((len(stream), batch, widest if 4 * widest * length <= KEPT else 0))
    for block in blocks:
        ends = None
        if block.is_two_way and count > 1:
            kept, ends = _backward(block, chunks, stream, kept)
        stream = _forward(block, chunks, stream, kept, ends)
    return stream[:length]


def _backward(block: Block, chunks: Chunks, stream: Any, kept: Any) -> tuple[Any, Any]:
    """What drives the states, if there is room for it, and the states that each chunk meets at its end."""

    def step(j: Any, carried: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        kept, ends, end = carried
        i = chunks.count - 1 - j
        driven = _driven(block, chunks, chunks.take(stream, i), i)
        kept = chunks.put(kept, i, driven) if kept.shape[-1] else kept
        return kept, ends.at[i].set(end), _states(block, chunks, driven, end, reverse=True)[0]

    end = block.rest(stream)
    return jax.lax.fori_loop(0, chunks.count, step, (kept, jnp.zeros((chunks.count, *end.shape), end.dtype), end))[:2]


def _forward(block: Block, chunks: Chunks, stream: Any, kept: Any, ends: Any) -> Any:
    """The block's outputs. Without `ends` nothing was kept, and the only chunk ends at rest."""

    def step(i: Any, carried: tuple[Any, Any]) -> tuple[Any, Any]:
        stream, start = carried
        part = chunks.take(stream, i)
        u = block.enter(part)
        if ends is not None and kept.shape[-1]:
            driven = chunks.take(kept, i)[..., : 2 * block.states]
        else:
            driven = _driven(block, chunks, part, i)
        xs = [_states(block, chunks, driven, start, reverse=False)]
        if block.is_two_way:
            xs.append(_states(block, chunks, driven, block.rest(part) if ends is None else ends[i], reverse=True))
        seen = jnp.concatenate([half for x in xs for half in (x.real, x.imag)], axis=-1)
        y = product(seen.astype(u.dtype), block.folded["readout"]) + block.folded["D"] * u + block.folded["offset"]
        return chunks.put(stream, i, block.leave(part, y)), xs[0][-1]

    carried = stream, block.rest(stream)
    return (step(0, carried) if chunks.count == 1 else jax.lax.fori_loop(0, chunks.count, step, carried))[0]


def _driven(block: Block, chunks: Chunks, part: Any, i: Any) -> Float[Array, "steps batch parts"]:
    """What drives the states in a chunk: nothing behind the steps that count, where the way back begins."""
    driven = product(block.enter(part), block.folded["drive"]) + block.folded["constant"]
    if chunks.count * chunks.steps == chunks.length:
        return driven
    inside = i * chunks.steps + jnp.arange(chunks.steps) < chunks.length
    return jnp.where(inside[:, None, None], driven, 0)


def _states(block: Block, chunks: Chunks, driven: Any, start: Any, *, reverse: bool) -> Complex[Array, "steps batch n"]:
    n = block.states
    driven = jax.lax.complex(driven[..., :n], driven[..., n:])
    return recur(block.folded["lam"], driven, axis=0, reverse=reverse, on_cpu=chunks.on_cpu, start=start)


def product(x: Any, weights: Any) -> Any:
    """Of the features with the weights."""
    return jnp.tensordot(x, weights, 1, preferred_element_type=jnp.float32)
