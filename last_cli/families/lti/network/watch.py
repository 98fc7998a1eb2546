"""The classifier with a tap at every SSM layer: the layer's inputs can be read, and its outputs perturbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float
from last_cli.base.arrays import nested
from last_cli.families.lti.network import scan
from last_cli.families.lti.network.documents import apart
from last_cli.families.lti.network.module import SSM, Classifier
from last_cli.families.lti.network.spec import ModelSpec
from last_cli.families.lti.system import System
from last_cli.families.network import Systems, Variables, Watch


def watch(spec: ModelSpec) -> Watch:
    """The classifier of this spec, see network.Watch."""
    model = Classifier(spec)
    return Watch(
        variables=with_systems,
        logits=model.apply,
        perturbations=partial(perturbations, spec),
        taps=partial(taps, model),
        states=states,
    )


def with_systems(variables: Variables, systems: Systems, length: int) -> dict[str, Any]:
    """The variables with each layer's system prepared for a length, in single precision, which the SSM module reads."""
    prepared = {
        (*name.split("/"), "prepared"): scan.single(scan.prepare(system, length)) for name, system in systems.items()
    }
    return {**variables, "system": nested(prepared)}


def perturbations(spec: ModelSpec, x: Any) -> dict[str, Any]:
    """Zeros to add to each layer's outputs, a row for each document."""
    sequences, length = apart(spec, x, None)[0].shape[:2]
    return {name: jnp.zeros((sequences, length, spec.d_model)) for name in spec.layers}


def taps(
    model: Classifier, variables: Variables, x: Any, lengths: Any, perturbations: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Logits with something added to every SSM layer's outputs, and the layers' inputs."""
    seen: dict[str, Any] = {}

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if not isinstance(context.module, SSM) or context.method_name != "__call__":
            return call(*args, **kwargs)
        name = "/".join(context.module.path)
        seen[name] = args[0]
        return call(*args, **kwargs) + perturbations[name]

    with nn.intercept_methods(intercept):
        return model.apply(variables, x, lengths), seen


def states(system: System, u: Float[jax.Array, "batch length inputs"]) -> Float[jax.Array, "batch length G d"]:
    """The coordinates f of all states for inputs u, in single precision as the engine runs; padding is zero."""
    G, N, M = system.B.shape
    lam = jnp.asarray(system.lam, jnp.complex64).reshape(-1)
    B = jnp.where(system.live_mask[..., None], jnp.asarray(system.B, jnp.complex64), 0)
    driven = jnp.einsum("blgm,gnm->blgn", u.reshape(*u.shape[:2], G, M).astype(jnp.complex64), B)
    driven = driven.reshape(*u.shape[:2], G * N)
    on_cpu = jax.default_backend() == "cpu"
    found = [scan.recur(lam, driven, axis=1, reverse=bool(r), on_cpu=on_cpu) for r in range(len(system.C))]
    if len(found) > 1 and system.backward_lag:
        found[1] = jnp.pad(found[1], ((0, 0), (0, 1), (0, 0)))[:, 1:]
    parts = jnp.stack([part for x in found for part in (x.real, x.imag)], axis=-1)
    return parts.reshape(*u.shape[:2], G, -1)
