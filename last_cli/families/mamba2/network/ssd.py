"""Structured state-space duality (Dao and Gu 2024, section 6): a scan over chunks, quadratic inside each."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float

CHUNK = 64


def ssd(
    x: Float[jax.Array, "B T H P"],
    decay: Float[jax.Array, "B T H"],
    b: Float[jax.Array, "B T G N"],
    c: Float[jax.Array, "B T G N"],
    chunk: int = CHUNK,
) -> Float[jax.Array, "B T H P"]:
    """y[t] = c[t] S[t] with S[t] = exp(decay[t]) S[t-1] + x[t] b[t]^T, for each head; heads of a group share b and c.

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
    groups = b.shape[2]
    chunk = min(chunk, steps)
    padding = -steps % chunk
    if padding:
        x, decay, b, c = (jnp.pad(a, ((0, 0), (0, padding)) + ((0, 0),) * (a.ndim - 2)) for a in (x, decay, b, c))
    n = (steps + padding) // chunk
    x = x.reshape(batch, n, chunk, groups, heads // groups, width)
    total = jnp.cumsum(decay.reshape(batch, n, chunk, groups, heads // groups), axis=2)
    b, c = (a.reshape(batch, n, chunk, groups, -1) for a in (b, c))
    inside = _inside(x, total, b, c)
    # What each chunk adds to the state at its end, and what is left of the state before it.
    added = jnp.einsum("bnsgx,bnsgh,bnsghp->bnghxp", b, jnp.exp(total[:, :, -1:] - total), x)
    left = jnp.exp(total[:, :, -1])

    def step(state: jax.Array, chunks: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        new, factor = chunks
        return state * factor[..., None, None] + new, state

    start = jnp.zeros_like(added[:, 0])
    _, before = jax.lax.scan(step, start, (added.swapaxes(0, 1), left.swapaxes(0, 1)))
    y = inside + jnp.einsum("bnsgx,nbghxp,bnsgh->bnsghp", c, before, jnp.exp(total))
    return y.reshape(batch, steps + padding, heads, width)[:, :steps]


def _inside(x: jax.Array, total: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """What the steps of a chunk give to the later ones of the same chunk."""
    chunk = x.shape[2]
    past = jnp.tril(jnp.ones((chunk, chunk), bool))
    difference = total[:, :, :, None] - total[:, :, None]
    kept = jnp.exp(jnp.where(past[..., None, None], difference, -jnp.inf))
    seen = jnp.einsum("bnsgx,bntgx->bnstg", c, b)
    return jnp.einsum("bnstg,bnstgh,bntghp->bnsghp", seen, kept, x)
