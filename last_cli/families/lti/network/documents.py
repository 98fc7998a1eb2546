"""Samples of two documents, as the Flax module and the engine take them apart and compare them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from last_cli.base.annotations import Array, Float
from last_cli.families.lti.network.spec import ModelSpec


def apart(spec: ModelSpec, x: Any, lengths: Any) -> tuple[Any, Any]:
    """Each document as a row of its own, and the documents' lengths."""
    if spec.documents == 1:
        return x, lengths
    return x.reshape(-1, *x.shape[2:]), None if lengths is None else lengths.reshape(-1)


def paired(pooled: Float[Array, "rows h"]) -> Float[Array, "samples 4*h"]:
    """Both documents' features, their difference and their product."""
    one, other = pooled[0::2], pooled[1::2]
    return jnp.concatenate([one, other, one - other, one * other], axis=-1)
