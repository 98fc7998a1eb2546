"""What the states of the mixers do on calibration text: sums over sequences, by a mixer's prefix."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float, Int
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.network.forward import Tensors, below, drive, enter, mixer_inputs, surprise
from last_cli.families.mamba2.network.spec import LanguageSpec
from last_cli.families.mamba2.targets import IN

Found = Mapping[str, Float[jax.Array, "G N"]]


def energies(spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"]) -> Found:
    """The output energy of every state on one sequence.

    It is the sum over steps, heads and channels of (C_n S_n)^2 |W_out gamma|^2: the square of what the state alone adds
    to its heads, times the squared size of what reads them.
    """
    inputs = mixer_inputs(spec, tensors, tokens)
    return {name: _energy(sizes, below(tensors, f"{name}."), inputs[name]) for name, sizes in _mixers(spec)}


def squares(spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"]) -> dict[str, dict[str, jax.Array]]:
    """The sums over the steps of one sequence of the squares of B (G, N) and C (G, C's of a group, N)."""
    inputs = mixer_inputs(spec, tensors, tokens)
    found = {}
    for name, sizes in _mixers(spec):
        _, (_, b, c) = enter(sizes, below(tensors, f"{name}."), inputs[name])
        sums = {"B": jnp.square(b).sum((0, 1)), "C": jnp.square(c).sum((0, 1))}
        by_group = {part: value.reshape(sizes.groups, -1, sizes.states) for part, value in sums.items()}
        found[name] = {"B": by_group["B"].mean(1), "C": by_group["C"]}
    return found


def fisher(spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "1 T"]) -> Mapping[str, jax.Array]:
    """The squared gradients of one sequence's mean loss with respect to in_proj, of the same shape."""
    names = [f"{name}.{IN}" for name, _ in _mixers(spec)]

    def loss(own: dict[str, jax.Array]) -> jax.Array:
        return surprise(spec, {**tensors, **own}, tokens).mean()

    slopes = jax.grad(loss)({name: tensors[name] for name in names})
    return {name.removesuffix(f".{IN}"): jnp.square(slope) for name, slope in slopes.items()}


def _mixers(spec: LanguageSpec) -> list[tuple[str, Mixer]]:
    return [(f"{block.prefix}.{block.mixer}", block.sizes) for block in spec.blocks if block.mixer and block.sizes]


def _energy(sizes: Mixer, tensors: Tensors, u: Float[jax.Array, "1 T d"]) -> Float[jax.Array, "G N"]:
    parts, (x, b, c) = enter(sizes, tensors, u)
    driven, decay = drive(sizes, tensors, parts, x)
    columns = tensors["out_proj.weight"][:, sizes.beside :] * tensors.get("norm.weight", 1.0)
    weight = jnp.square(columns).sum(0).reshape(sizes.heads, sizes.head_dim, 1)
    groups = b.shape[2]
    heads = sizes.heads // groups

    def step(
        carry: tuple[jax.Array, jax.Array], now: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        state, total = carry
        x, decay, b, c = now
        b, c = (jnp.repeat(value, heads, 0)[:, None] for value in (b, c))
        state = state * jnp.exp(decay)[:, None, None] + x[..., None] * b
        return (state, total + (jnp.square(state * c) * weight).sum(1)), None

    start = jnp.zeros((sizes.heads, sizes.head_dim, sizes.states)), jnp.zeros((sizes.heads, sizes.states))
    (_, total), _ = jax.lax.scan(step, start, (driven[0], decay[0], b[0], c[0]))
    return total.reshape(sizes.groups, -1, sizes.states).sum(1)
