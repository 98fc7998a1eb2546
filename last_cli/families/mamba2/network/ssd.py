"""Structured state-space duality (Dao and Gu 2024, section 6): a scan over chunks, quadratic inside each."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float

CHUNK = 64
"""Steps of a chunk: measured on CPUs at 128 states and heads of 64 channels, 32 to 64 are fastest."""


def ssd(
    x: Float[jax.Array, "B T H P"],
    decay: Float[jax.Array, "B T H"],
    b: Float[jax.Array, "B T G N"],
    c: Float[jax.Array, "B T G N"],
    chunk: int = CHUNK,
) -> Float[jax.Array, "B T H P"]:
    """y[t] = c[t] S[t] with S[t] = exp(decay[t]) S[t-1] + x[t] b[t]^T, for each head; heads of a group share b and c.

    All of a chunk is done before the next is looked at, so that what is between its products stays in a CPU's cache.

    Args:
        x: inputs, already times the step.
        decay: logarithms, at most 0.
        b: how a state takes its input.
        c: how it is read.
        chunk: steps that are summed by one product of matrices; the result does not depend on it.

    Returns:
        The outputs.
    """
    batch, steps, heads, width = x.shape
    groups, states = b.shape[2:]
    chunk = min(chunk, steps)
    padding = -steps % chunk

    def chunks(array: jax.Array, *shape: int) -> jax.Array:
        """The array by chunks first, then by batch, group and step: as the products below want it."""
        array = jnp.pad(array, ((0, 0), (0, padding)) + ((0, 0),) * (array.ndim - 2))
        array = array.reshape(batch, -1, chunk, groups, *shape)
        return jnp.moveaxis(array, (1, 0, 3, 2), (0, 1, 2, 3))

    alike = heads // groups
    parts = chunks(x, alike, width), chunks(decay, alike), chunks(b, states), chunks(c, states)
    _, y = jax.lax.scan(_chunk, jnp.zeros((batch, groups, states, alike * width), x.dtype), parts)
    return jnp.moveaxis(y, (0, 1, 2, 3), (1, 0, 3, 2)).reshape(batch, -1, heads, width)[:, :steps]


def _chunk(state: Float[jax.Array, "B G N hP"], parts: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    """The state behind a chunk, and the outputs (B, G, t, hP) in it: h heads of each of G groups."""
    x, decay, b, c = parts
    batch, groups, steps, _, width = x.shape
    total = jnp.cumsum(decay, axis=2)
    # What the steps of the chunk give to the later ones of the same chunk.
    seen = jnp.tril(c @ b.swapaxes(2, 3))[:, :, None] * jnp.exp(jnp.minimum(_differences(total.swapaxes(2, 3)), 0))
    inside = (seen @ x.swapaxes(2, 3)).swapaxes(2, 3)
    # What the steps before the chunk give, by the state that they left.
    before = (c @ state).reshape(x.shape) * jnp.exp(total)[..., None]
    last = total[:, :, -1]
    added = (x * jnp.exp(last[:, :, None] - total)[..., None]).reshape(batch, groups, steps, -1)
    left = jnp.repeat(jnp.exp(last), width, axis=-1)[:, :, None]
    return state * left + b.swapaxes(2, 3) @ added, (inside + before).reshape(added.shape)


def _differences(rows: Float[jax.Array, "B G h t"]) -> Float[jax.Array, "B G h t t"]:
    """rows[s] - rows[t]: as a product of matrices, which XLA's CPU code does four times as fast as by broadcasting."""
    one = jnp.ones_like(rows)
    return jnp.stack([rows, one], -1) @ jnp.stack([one, -rows], -2)
