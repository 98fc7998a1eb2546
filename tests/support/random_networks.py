"""Random classifiers: their variables, their folded parameters, inputs, and what is checked of several."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax.numpy as jnp
import numpy as np
from random_layers import KINDS, classifier, leaves_of, leaves_with, write, written

import last_cli as last
from last_cli.base import arrays as base
from last_cli.evaluation.inputs import Inputs
from last_cli.families.find import build_system, find_layers
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.network.fold import fold
from last_cli.families.lti.network.spec import infer, read_spec
from last_cli.families.target import put
from last_cli.formats import Key
from last_cli.pruning.balanced.method import BALANCED
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.method import Plan
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.reconstruct import correct
from last_cli.pruning.reconstruct.fit import Fit, fit_of
from last_cli.pruning.reconstruct.method import RECONSTRUCT, ReconstructPlan
from last_cli.pruning.reconstruct.probe import Whitening
from last_cli.results.prune import PruneReport


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


TEMPORARY = TemporaryDirectory(prefix="last-tests-")


def shared(kind: str = "s5-two-directions", seed: int = 0, **options: Any) -> last.Checkpoint:
    """`random_layers.written`, once in a run, and its arrays in memory: no test changes them."""
    return _shared(kind, seed, tuple(sorted(options.items())))


@cache
def _shared(kind: str, seed: int, options: tuple[tuple[str, Any], ...]) -> last.Checkpoint:
    name = "-".join([kind, str(seed), *(f"{option}={value}" for option, value in options)])
    return held(written(Path(TEMPORARY.name) / name, kind, seed, **dict(options)))


@cache
def digits() -> last.Checkpoint:
    """A random classifier of the task digits; half of its states add next to nothing."""
    arrays = classifier(states=8, inputs=1, classes=10)
    for layer in find_layers(leaves_of(arrays)):
        units = layer.units["states"]
        small = np.tile(np.arange(units.count) % 2 == 0, (units.groups, 1))
        for name in leaves_with(layer, "readout"):
            array = arrays[layer.leaves[name]]
            arrays[layer.leaves[name]] = put(array, units.segments[name], small, np.float32(1e-4) * array)
    stamp = {"task": {"name": "digits"}, "model": asdict(ModelConfig())}
    return held(last.load(write(Path(TEMPORARY.name) / "digits", arrays, stamp)))


def held(ck: last.Checkpoint) -> last.Checkpoint:
    """The same with all its arrays in memory, where nothing can change them."""
    arrays = ck.read(ck.leaves)
    for array in arrays.values():
        array.flags.writeable = False
    return replace(ck, changed=arrays)


def observed(kind: str = "s5-two-directions", count: int = 12, length: int = 20) -> Observation:
    """The states of `shared(kind)` on `features`, measured once in a run."""
    return _observed(kind, count, length)


@cache
def _observed(kind: str, count: int, length: int) -> Observation:
    return Observation(shared(kind), features(count, length))


def fitted(kind: str = "s5-two-directions", count: int = 12, length: int = 20) -> Fit:
    """The fit of `observed`."""
    return fit_of(observed(kind, count, length))


def reconstruct(observation: Observation, **entries: Any) -> ReconstructPlan:
    """The plan of the method `reconstruct`, with these entries of its recipe."""
    recipe = Recipe(method="reconstruct", **entries)
    plan = RECONSTRUCT.prepare(observation.checkpoint, recipe, observation)
    assert isinstance(plan, ReconstructPlan)
    return plan


def balanced(checkpoint: last.Checkpoint, ratio: float, *, draft: bool = False, **entries: Any) -> last.Checkpoint:
    """The checkpoint pruned by the method `balanced`, with these entries of its recipe."""
    return pruned(BALANCED.prepare(checkpoint, Recipe(method="balanced", **entries), None), ratio, draft=draft)


def pruned(plan: Plan, ratio: float, *, draft: bool = False) -> last.Checkpoint:
    """What a plan makes of its checkpoint, with the report in it, as `last.prune` gives it."""
    found = plan.at(ratio, draft=draft)
    return replace(found.checkpoint, report=found.report)


def reopened(small: last.Checkpoint, path: Path) -> last.Checkpoint:
    """The same, saved and opened."""
    last.save(small, path)
    return last.load(path)


def report_of(small: last.Checkpoint) -> PruneReport:
    assert small.report is not None
    return small.report


def check_derivatives(fit: Fit) -> None:
    """Along the whitened directions of one layer, for every sequence and combination of classes."""
    keep = [np.ones(p.system.lam.shape, bool) for p in fit.layers]
    keep[0][0, 2] = False
    C = [p.readouts(mask) for p, mask in zip(fit.layers, keep, strict=True)]
    whitenings = [Whitening(*correct._sides(p, mask)) for p, mask in zip(fit.layers, keep, strict=True)]
    roots = correct.roots_of(np.random.default_rng(0).dirichlet(np.ones(fit.probe.classes), 8))
    rows = fit.probe.derivatives(C, whitenings, roots)
    for first in (0, 1):
        along = np.random.default_rng(first).normal(size=rows[first].shape[0]).astype(np.float32)
        moved = list(C)
        moved[first] = correct._moved(fit.layers[first], whitenings[first], along @ rows[first], C[first])
        size = 1e-2 / max(float(np.abs(m - c).max()) for m, c in zip(moved, C, strict=True))
        there, back = ([c + s * size * (m - c) for m, c in zip(moved, C, strict=True)] for s in (1, -1))
        change = (fit.probe.logits(there) - fit.probe.logits(back))[:8] / 2
        change = np.einsum("nij,nj->ni", roots, change).ravel()
        predicted = size * rows[first] @ (along @ rows[first])
        np.testing.assert_allclose(change, predicted, atol=0.02 * np.abs(predicted).max())
