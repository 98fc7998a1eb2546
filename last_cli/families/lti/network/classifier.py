"""The classifier of S5 and S4D as a Network. What needs JAX is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.families.find import Layer
from last_cli.families.lti.network.spec import ModelSpec, block_of, infer, read_spec, statistics
from last_cli.families.network import Network, Systems, Variables, Watch
from last_cli.families.variables import Collections
from last_cli.formats import Key


def variables(leaves: Mapping[Key, Any], layers: Sequence[Layer]) -> dict[Key, Any]:
    """The classifier's own leaves, under ("params", ...) and ("batch_stats", ...)."""
    return Collections.of(layers).variables(leaves)


def module(spec: ModelSpec) -> Any:
    """The Flax module, see module.Classifier."""
    from last_cli.families.lti.network.module import Classifier

    return Classifier(spec)


def fold(spec: ModelSpec, variables: Variables, systems: Systems, length: int, precision: str) -> Any:
    """Parameters for inference, see fold.fold."""
    from last_cli.families.lti.network import fold

    blocks = {block_of(name): system for name, system in systems.items()}
    return fold.fold(spec, variables, blocks, length, precision)


def forward(spec: ModelSpec, params: Any, x: Any, lengths: Any, platform: str) -> Any:
    """Log-probabilities of the classes, see forward.forward."""
    from last_cli.families.lti.network import forward

    return forward.forward(spec, params, x, lengths, platform)


def watch(spec: ModelSpec) -> Watch:
    """The module with a tap at every SSM layer, see watch.watch."""
    from last_cli.families.lti.network import watch

    return watch.watch(spec)


def loss(outputs: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Cross-entropy in nats, from log-probabilities."""
    return -np.take_along_axis(outputs, labels[:, None].astype(np.int64), axis=1)[:, 0]


CLASSIFIER = Network(
    name="classifier",
    options=("activation", "prenorm", "mode", "padded"),
    infer=infer,
    spec=lambda leaves, layers, config, files: read_spec(leaves, layers, config),
    variables=variables,
    module=module,
    fold=fold,
    forward=forward,
    watch=watch,
    loss=loss,
    statistics=statistics,
)
