"""What is made of the states of a layer's systems and of slopes at its outputs, a few systems at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Float
from last_cli.families.lti.system import System
from last_cli.families.network import Watch

AT_A_TIME, AT_A_TIME_ON_GPU = 2**17, 2**22
"""States of systems times steps that are held at once: so many stay in a CPU's cache; a GPU wants more to do."""


def over_states(
    watch: Watch,
    system: System,
    u: Float[jax.Array, "sequences length inputs"],
    slopes: Float[jax.Array, "rows sequences length outputs"],
    one: Callable[..., Any],
    *each: Float[jax.Array, "G ..."],
) -> Any:
    """`one` of every system's states for inputs u, of its part of the slopes, and of what `each` has for it.

    `one` takes the states (steps, d), with all sequences' steps one after the other, slopes (rows, steps, K), and
    `each` without its first axis.

    Returns:
        What `one` returns, with the G systems along a new first axis of every array.
    """
    G, N, M = system.B.shape
    rows, (sequences, length) = len(slopes), u.shape[:2]
    steps = sequences * length
    count = _divisor(G, (AT_A_TIME if jax.default_backend() == "cpu" else AT_A_TIME_ON_GPU) // (steps * N))
    parts = {
        "lam": jnp.asarray(system.lam, jnp.complex64),
        "B": jnp.asarray(np.where(system.live_mask[..., None], system.B, 0), jnp.complex64),
        "u": jnp.moveaxis(u.reshape(sequences, length, G, M), 2, 0),
        "slopes": jnp.moveaxis(slopes.reshape(rows, steps, G, -1), 2, 0),
        "each": each,
    }

    def some(part: Any) -> Any:
        few = replace(system, lam=part["lam"], B=part["B"], C=system.C[:, :count], live=None)
        f = watch.states(few, jnp.moveaxis(part["u"], 0, 2).reshape(sequences, length, -1))
        f = f.reshape(1, steps, -1) if count == 1 else jnp.moveaxis(f, 2, 0).reshape(count, steps, -1)
        return _over_systems(one, f, part["slopes"], *part["each"])

    if count == G:
        return some(parts)
    groups = jax.tree.map(lambda a: a.reshape(G // count, count, *a.shape[1:]), parts)
    return jax.tree.map(lambda a: a.reshape(G, *a.shape[2:]), jax.lax.map(some, groups))


def _over_systems(one: Callable[..., Any], *arrays: Float[jax.Array, "G ..."]) -> Any:
    """`jax.vmap(one)(*arrays)`. XLA makes less of a batch of one: a single system goes without."""
    if len(arrays[0]) > 1:
        return jax.vmap(one)(*arrays)
    return jax.tree.map(lambda found: found[None], one(*(array[0] for array in arrays)))


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is no more than `most`, or 1."""
    return max(d for d in range(1, number + 1) if number % d == 0 and d <= max(most, 1))
