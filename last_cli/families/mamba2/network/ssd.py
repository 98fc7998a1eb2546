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
        """The array by chunks first, then by batch and step."""
        array = jnp.pad(array, ((0, 0), (0, padding)) + ((0, 0),) * (array.ndim - 2))
        return array.reshape(batch, -1, chunk, *shape).swapaxes(0, 1)

    by_group = groups, heads // groups
    parts = chunks(x, *by_group, width), chunks(decay, *by_group), chunks(b, groups, states), chunks(c, groups, states)
    start = jnp.zeros((batch, groups, states, heads // groups * width), x.dtype)
    _, y = jax.lax.scan(_chunk, start, parts)
    return y.swapaxes(0, 1).reshape(batch, -1, heads, width)[:, :steps]


def _chunk(state: Float[jax.Array, "B G N hP"], parts: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    """The state behind a chunk, and the outputs (B, t, G, h, P) in it: h heads of each of G groups."""
    x, decay, b, c = parts
    batch, steps, groups, _, width = x.shape
    total = jnp.cumsum(decay, axis=1)
    b, c = b.swapaxes(1, 2), c.swapaxes(1, 2)
    # What the steps of the chunk give to the later ones of the same chunk.
    rows = total.transpose(0, 2, 3, 1)
    past = jnp.tril(jnp.ones((steps, steps), bool))
    kept = jnp.exp(jnp.where(past, rows[..., :, None] - rows[..., None, :], -jnp.inf))
    seen = jnp.einsum("bgsn,bgtn->bgst", c, b)[:, :, None] * kept
    inside = jnp.einsum("bghst,bghtp->bghsp", seen, x.transpose(0, 2, 3, 1, 4)).transpose(0, 3, 1, 2, 4)
    # What the steps before the chunk give, by the state that they left.
    before = jnp.einsum("bgsn,bgnq->bsgq", c, state).reshape(x.shape) * jnp.exp(total)[..., None]
    last = total[:, -1]
    added = (x * jnp.exp(last[:, None] - total)[..., None]).reshape(batch, steps, groups, -1)
    left = jnp.repeat(jnp.exp(last), width, axis=-1)[:, :, None]
    return state * left + jnp.einsum("bgtn,btgq->bgnq", b, added), inside + before
