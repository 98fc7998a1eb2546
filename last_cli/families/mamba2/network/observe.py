"""What the mixers do on text: numbers of every sequence for states, heads and channels, by a mixer's prefix.

Everything is of one sequence (1, T), and `counted` says which of its tokens count: 1.0 or 0.0, for each.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float, Int
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.network.forward import Tensors, below, drive, enter, mixer_inputs, readout
from last_cli.families.mamba2.network.spec import LanguageSpec
from last_cli.families.mamba2.network.ssd import ssd

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


def outputs(
    spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"], counted: Float[jax.Array, " T"]
) -> Found:
    """The energy that every head (H,) and every channel of it (H, P) puts out, through its columns of out_proj."""
    inputs, found = mixer_inputs(spec, tensors, tokens), {}
    for name, sizes in _mixers(spec):
        own = below(tensors, f"{name}.")
        read = _read(sizes, own, inputs[name])
        columns = own["out_proj.weight"][:, sizes.beside :].reshape(-1, sizes.heads, sizes.head_dim)
        by_head = jnp.einsum("thp,ohp->hto", read, columns, optimize=True)
        found[name] = {
            "heads": jnp.square(by_head).sum(2) @ counted,
            "channels": jnp.einsum("t,thp->hp", counted, jnp.square(read)) * jnp.square(columns).sum(0),
        }
    return found


def fluctuations(
    spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"], counted: Float[jax.Array, " T"]
) -> Found:
    """Of what every channel (H, P) gives out_proj to read, the means of it and of its squares; and the steps."""
    inputs, found = mixer_inputs(spec, tensors, tokens), {}
    for name, sizes in _mixers(spec):
        read = _read(sizes, below(tensors, f"{name}."), inputs[name])
        means = [jnp.einsum("t,thp->hp", counted, part) / counted.sum() for part in (read, jnp.square(read))]
        found[name] = {"mean": means[0], "square": means[1], "steps": counted.sum()}
    return found


def _read(sizes: Mixer, tensors: Tensors, u: Float[jax.Array, "1 T d"]) -> Float[jax.Array, "T H P"]:
    """What out_proj reads of the heads."""
    return readout(sizes, tensors, u)[0, :, sizes.beside :].reshape(-1, sizes.heads, sizes.head_dim)


def _mixers(spec: LanguageSpec) -> list[tuple[str, Mixer]]:
    return [(f"{block.prefix}.{block.mixer}", block.sizes) for block in spec.blocks if block.mixer and block.sizes]


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
