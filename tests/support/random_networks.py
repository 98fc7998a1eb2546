"""Random classifiers: their variables, their folded parameters, inputs, and what is checked of several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from last_cli.results.reduction import ReductionReport
from random_layers import KINDS, classifier, leaves_of

import last_cli as last
from last_cli.base import arrays as base
from last_cli.evaluation.inputs import Inputs
from last_cli.families.find import build_system, find_layers
from last_cli.families.lti.network.fold import fold
from last_cli.families.lti.network.spec import infer, read_spec
from last_cli.formats import Key
from last_cli.pruning.reconstruct import correct
from last_cli.pruning.reconstruct import method as reconstruct


def nested(arrays: dict[Key, np.ndarray]) -> dict[str, Any]:
    return base.nested({key: jnp.asarray(array) for key, array in arrays.items()})


def built(
    arrays: dict[Key, np.ndarray], kind: str, length: int = 40, precision: str = "float32", **options: Any
) -> tuple[Any, ...]:
    """Spec, variables and folded parameters of a random classifier."""
    leaves = leaves_of(arrays)
    layers = find_layers(leaves)
    config = replace(KINDS[kind].config, **{**infer(leaves, layers), **options})
    spec, variables = read_spec(leaves, layers, config), nested(arrays)
    systems = {
        layer.name.split("/")[-2]: build_system(layer, {n: arrays[k] for n, k in layer.leaves.items()}, config)
        for layer in layers
    }
    return spec, variables, fold(spec, variables, systems, length, precision)


def two_towers(seed: int = 0, kind: str = "s5-two-directions", blocks: int = 1) -> dict[Key, np.ndarray]:
    """Blocks of layer norm and GELU, and the head with its two products."""
    arrays = classifier(kind, seed, blocks=blocks, norm="layer", gates=())
    rng = np.random.default_rng(seed + 1)
    arrays = {key: array for key, array in arrays.items() if key[:2] != ("params", "decoder")}
    for name, shape in {"layer1": (16, 4), "layer2": (4, 2)}.items():
        arrays[("params", "decoder", name, "kernel")] = rng.normal(size=shape).astype(np.float32)
        arrays[("params", "decoder", name, "bias")] = rng.normal(size=shape[1]).astype(np.float32)
    return arrays


def features(count: int = 12, length: int = 20, seed: int = 0) -> Inputs:
    return Inputs(np.random.default_rng(seed).normal(size=(count, length, 7)).astype(np.float32), None, {"test": 1})


def report_of(small: last.Checkpoint) -> ReductionReport:
    assert isinstance(small.report, ReductionReport)
    return small.report


def check_derivatives(plan: reconstruct.Plan) -> None:
    """Along the whitened directions of one layer, for every sequence and class."""
    keep = [np.ones(p.system.lam.shape, bool) for p in plan.layers]
    keep[0][0, 2] = False
    C = [p.readouts(mask) for p, mask in zip(plan.layers, keep, strict=True)]
    from last_cli.pruning.reconstruct.probe import Whitening

    whitenings = [Whitening(*correct._sides(p, mask)) for p, mask in zip(plan.layers, keep, strict=True)]
    rows = plan.probe.derivatives(C, whitenings, 8)
    for first in (0, 1):
        along = np.random.default_rng(first).normal(size=rows[first].shape[0]).astype(np.float32)
        moved = correct._step(plan, whitenings, [r if i == first else 0 * r for i, r in enumerate(rows)], along, C)
        size = 1e-2 / max(float(np.abs(m - c).max()) for m, c in zip(moved, C, strict=True))
        there, back = ([c + s * size * (m - c) for m, c in zip(moved, C, strict=True)] for s in (1, -1))
        change = (plan.probe.logits(there) - plan.probe.logits(back))[:8].ravel() / 2
        predicted = size * rows[first] @ (along @ rows[first])
        np.testing.assert_allclose(change, predicted, atol=0.02 * np.abs(predicted).max())
