"""How much the loss on text minds the weights of a mixer: of every state, and of every channel of every head.

Everything is of one sequence (1, T), and `counted` says which of its tokens count: 1.0 or 0.0, for each. With g the
gradient of the mean loss of the next tokens that count, a weight W is minded by |W^2 g^2| or, of first order, |W g^2|.
The references do as the paper's code does: of phi-mamba and Smol2 it takes the loss of the tokens that were just read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float, Int
from last_cli.families.mamba2.family import REFERENCES
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.network.forward import Tensors, echo, surprise
from last_cli.families.mamba2.network.spec import LanguageSpec
from last_cli.families.mamba2.targets import IN, NORM, OUT

Found = dict[str, dict[str, jax.Array]]
"""Quantities of each mixer, by its prefix and their names."""

Order = Literal["fisher", "taylor", "reference-fisher", "reference-taylor"]
Minded = dict[str, jax.Array]
"""What is minded of a mixer's tensors, by their names below its prefix and in their shapes."""


def states(
    order: Order,
    spec: LanguageSpec,
    tensors: Tensors,
    tokens: Int[jax.Array, "1 T"],
    counted: Float[jax.Array, " T"],
) -> Found:
    """The means over rows of in_proj, of every state summed over its rows of B and C (G, N)."""
    return _each(order, spec, tensors, tokens, counted, (IN,), partial(_states, order))


def channels(
    order: Order,
    spec: LanguageSpec,
    tensors: Tensors,
    tokens: Int[jax.Array, "1 T"],
    counted: Float[jax.Array, " T"],
) -> Found:
    """Of every channel of every head (H, P) the sum over all that goes with it.

    It is the mean over its rows of z and x, over its column of out_proj, and its weight of the gate's norm. Where heads
    share x, its rows stand apart: "x" (G, P).
    """
    return _each(order, spec, tensors, tokens, counted, (IN, OUT, NORM), partial(_channels, order))


def _each(
    order: Order,
    spec: LanguageSpec,
    tensors: Tensors,
    tokens: jax.Array,
    counted: jax.Array,
    names: tuple[str, ...],
    by_unit: Callable[[Mixer, Minded], dict[str, jax.Array]],
) -> Found:
    """What `by_unit` makes of what is minded of these tensors of each mixer."""
    mixers = {f"{block.prefix}.{block.mixer}": block.sizes for block in spec.blocks if block.mixer and block.sizes}
    weights = {f"{prefix}.{name}" for prefix in mixers for name in names} & set(tensors)
    again = order in REFERENCES and spec.settings.name == "phi-mamba"
    asked = counted if again else counted[:-1] * counted[1:]
    asked /= asked.sum()

    def loss(own: dict[str, jax.Array]) -> jax.Array:
        return (echo if again else surprise)(spec, {**tensors, **own}, tokens)[0] @ asked

    slopes = jax.grad(loss)({name: tensors[name] for name in sorted(weights)})
    power = 2 if order.endswith("fisher") else 1
    minded = {name: jnp.abs(tensors[name]) ** power * jnp.square(slope) for name, slope in slopes.items()}
    return {
        prefix: by_unit(sizes, {name: minded[key] for name in names if (key := f"{prefix}.{name}") in minded})
        for prefix, sizes in mixers.items()
    }


def _states(order: Order, sizes: Mixer, minded: Minded) -> dict[str, jax.Array]:
    """A state's B, and C of all heads that have one of their own."""
    rows = minded[IN].mean(1)
    b, c = (rows[slice(*sizes.rows[part])].reshape(sizes.groups, -1, sizes.states) for part in "BC")
    return {order: b.sum(1) + c.sum(1)}


def _channels(order: Order, sizes: Mixer, minded: Minded) -> dict[str, jax.Array]:
    rows = minded[IN].mean(1)
    z, x = (rows[slice(*sizes.rows[part])].reshape(-1, sizes.head_dim) for part in "zx")
    own = z + minded[OUT][:, sizes.beside :].mean(0).reshape(z.shape)
    if NORM in minded:
        own += minded[NORM].reshape(z.shape)
    return {order: own, "x": x} if sizes.settings.rows == "shared" else {order: own + x}
