"""What the states of the mixers do on text: a number for every state and sequence, by a mixer's prefix.

Everything is of one sequence (1, T), and `counted` says which of its tokens count: 1.0 or 0.0, for each.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float, Int
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.network.forward import Tensors, below, drive, enter, mixer_inputs, surprise
from last_cli.families.mamba2.network.spec import LanguageSpec
from last_cli.families.mamba2.network.ssd import ssd
from last_cli.families.mamba2.targets import IN

Found = dict[str, dict[str, jax.Array]]
"""Quantities of each mixer, by its prefix and their names."""


def squares(
    spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"], counted: Float[jax.Array, " T"]
) -> Found:
    """Sums of the squares of B (G, N) and C (G, C's of a group, N), and of the step of every head (H,)."""
    inputs = mixer_inputs(spec, tensors, tokens)
    found = {}
    for name, sizes in _mixers(spec):
        own = below(tensors, f"{name}.")
        parts, (x, b, c) = enter(sizes, own, inputs[name])
        _, decay = drive(sizes, own, parts, x)
        by_group = [jnp.einsum("t,tgn->gn", counted, jnp.square(part[0])) for part in (b, c)]
        b, c = (value.reshape(sizes.groups, -1, sizes.states) for value in by_group)
        step = -decay[0] if sizes.settings.rows == "discrete" else -decay[0] / jnp.exp(own["A_log"])
        found[name] = {"B": b.mean(1), "C": c, "step": counted @ step}
    return found


def energies(
    spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"], counted: Float[jax.Array, " T"]
) -> Found:
    """The output energy of every state (G, N).

    It is the sum over steps, heads and channels of (C_n S_n)^2 |W_out gamma|^2: the square of what the state alone adds
    to its heads, times the squared size of what reads them.
    """
    inputs = mixer_inputs(spec, tensors, tokens)
    return {
        name: {"energy": _energy(sizes, below(tensors, f"{name}."), inputs[name], counted)}
        for name, sizes in _mixers(spec)
    }


def fisher(
    spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"], counted: Float[jax.Array, " T"]
) -> Found:
    """|W^2 g^2|, the mean over a row of in_proj, g the gradient of the mean loss of the next tokens that count.

    Of every state it is summed over its rows of B and C (G, N).
    """
    weights = {name: tensors[f"{name}.{IN}"] for name, _ in _mixers(spec)}
    asked = counted[:-1] * counted[1:]
    asked /= asked.sum()

    def loss(own: dict[str, jax.Array]) -> jax.Array:
        renamed = {f"{name}.{IN}": weight for name, weight in own.items()}
        return surprise(spec, {**tensors, **renamed}, tokens)[0] @ asked

    slopes = jax.grad(loss)(weights)
    return {
        name: {"fisher": _by_state(sizes, jnp.square(weights[name] * slopes[name]).mean(1))}
        for name, sizes in _mixers(spec)
    }


def _mixers(spec: LanguageSpec) -> list[tuple[str, Mixer]]:
    return [(f"{block.prefix}.{block.mixer}", block.sizes) for block in spec.blocks if block.mixer and block.sizes]


def _by_state(sizes: Mixer, rows: Float[jax.Array, " rows"]) -> Float[jax.Array, "G N"]:
    """The sum over the rows of each state: its B, and C of all heads that have one of their own."""
    b, c = (rows[slice(*sizes.rows[part])].reshape(sizes.groups, -1, sizes.states) for part in "BC")
    return b.sum(1) + c.sum(1)


def _energy(
    sizes: Mixer, tensors: Tensors, u: Float[jax.Array, "1 T d"], counted: Float[jax.Array, " T"]
) -> Float[jax.Array, "G N"]:
    """With Q_n = sum over channels of w S_n^2 it is the sum of C_n^2 Q_n, and S is never made for all steps.

    S' = e S + x b, so Q' = e^2 Q + 2 b (S' . w x) - b^2 (x . w x). The product S' . w x is what a layer puts out in
    which x and b have changed their places: see ssd.
    """
    parts, (x, b, c) = enter(sizes, tensors, u)
    driven, decay = drive(sizes, tensors, parts, x)
    columns = tensors["out_proj.weight"][:, sizes.beside :] * tensors.get("norm.weight", 1.0)
    read = driven * jnp.square(columns).sum(0).reshape(sizes.heads, sizes.head_dim)
    b, c = (jnp.repeat(value, sizes.heads // value.shape[2], axis=2) for value in (b, c))
    added = 2 * b * ssd(b, decay, driven, read) - jnp.square(b) * (driven * read).sum(-1, keepdims=True)

    def step(q: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        kept, new = now
        q = jnp.maximum(q * kept[:, None] + new, 0.0)
        return q, q

    start = jnp.zeros((sizes.heads, sizes.states))
    _, q = jax.lax.scan(step, start, (jnp.exp(2 * decay[0]), added[0]))
    total = jnp.einsum("t,thn->hn", counted, jnp.square(c[0]) * q)
    return total.reshape(sizes.groups, -1, sizes.states).sum(1)
