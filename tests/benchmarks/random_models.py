"""Random classifiers of published shapes: how fast they are does not depend on their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from last_cli.base.arrays import nested
from last_cli.families.find import Layer, build_system, find_layers
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.network.spec import ModelSpec, read_spec
from last_cli.families.lti.presets import preset
from last_cli.families.lti.system import System
from last_cli.formats import Key, Leaf

TASKS = {"listops": (20, 10, 2048), "image": (1, 10, 1024), "pathx": (1, 2, 16384)}  # inputs, classes, length


@dataclass(frozen=True)
class Model:
    """A classifier: its spec, its nested variables, its blocks' systems, and the length of its sequences."""

    spec: ModelSpec
    variables: dict[str, Any]
    systems: dict[str, System]
    length: int

    def batch(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Random sequences, tokens for ListOps, and lengths."""
        rng, inputs = np.random.default_rng(1), self.spec.d_input
        if inputs > 1:
            x = rng.integers(inputs, size=(count, self.length), dtype=np.int32)
        else:
            x = rng.normal(size=(count, self.length, 1)).astype(np.float32)
        lengths = rng.integers(self.length // 2, self.length, size=count, dtype=np.int32)
        return x, lengths if self.spec.config.padded else np.full(count, self.length, np.int32)


def s5(task: str, removed: float = 0.0, compact: bool = True) -> Model:
    """The S5 configuration of a task, a share of all layers' states removed by lot: cut out, or B and C set to zero."""
    size, rng = preset(f"s5-lra-{task}").size, np.random.default_rng(0)
    layers, H, P = size["n_layers"], size["d_model"], size["ssm_size_base"] // 2
    keep = np.zeros(layers * P, bool)
    keep[rng.permutation(layers * P)[: round(layers * P * (1 - removed))]] = True
    parts = []
    for kept in keep.reshape(layers, P):
        leaves = {
            "Lambda_re": -rng.uniform(0.1, 1, P),
            "Lambda_im": -rng.uniform(0, 20, P),
            "B": rng.normal(size=(P, H, 2)) / np.sqrt(H) * kept[:, None, None],
            "C1": rng.normal(size=(H, P, 2)) / np.sqrt(P) * kept[:, None],
            "C2": rng.normal(size=(H, P, 2)) / np.sqrt(P) * kept[:, None],
            "D": rng.normal(size=H),
            "log_step": np.log(rng.uniform(0.001, 0.1, (P, 1))),
        }
        if compact:
            axes = {"Lambda_re": 0, "Lambda_im": 0, "B": 0, "C1": 1, "C2": 1, "log_step": 0}
            leaves |= {name: np.compress(kept, leaves[name], axis) for name, axis in axes.items()}
        parts.append(leaves)
    return _model(parts, H, TASKS[task], ModelConfig(**preset(f"s5-lra-{task}").model), rng)


def s4d(removed: float = 0.0, layers: int = 6, H: int = 512, N: int = 64) -> Model:
    """S4D of as many layers and channels as S5 has for Image, with annotated leaves: 64 states a channel.

    A share of the states is removed by lot: all their numbers are zero, as in the padding of a pruned checkpoint.
    """
    rng = np.random.default_rng(0)
    keep = [rng.random((N, H)) >= removed for _ in range(layers)]
    parts = [
        {
            "A_re": -rng.uniform(0.1, 1, (N, H)) * kept,
            "A_im": rng.uniform(-20, 20, (N, H)) * kept,
            "B_re": np.ones((N, H)) * kept,
            "B_im": np.zeros((N, H)),
            "C": rng.normal(size=(N, H, 2)) / np.sqrt(N) * kept[..., None],
            "D": rng.normal(size=(1, H)),
            "log_step": np.log(rng.uniform(0.001, 0.1, (1, H))),
        }
        for kept in keep
    ]
    return _model(parts, H, TASKS["image"], ModelConfig(activation="half_glu1"), rng)


def _model(
    parts: list[dict[str, np.ndarray]], H: int, task: tuple[int, int, int], config: ModelConfig, rng: Any
) -> Model:
    inputs, classes, length = task
    arrays: dict[Key, np.ndarray] = {}

    def dense(*path: str, into: int, out: int) -> None:
        arrays[("params", *path, "kernel")] = rng.normal(size=(into, out)) / np.sqrt(into)
        arrays[("params", *path, "bias")] = rng.normal(size=out) / 10

    dense("encoder", "encoder", into=inputs, out=H)
    dense("decoder", into=H, out=classes)
    for i, leaves in enumerate(parts):
        block = ("encoder", f"layers_{i}")
        arrays |= {("params", *block, "seq", name): array for name, array in leaves.items()}
        dense(*block, "out2", into=H, out=H)
        for kind, name, low, high in (("params", "scale", 0.5, 1.5), ("params", "bias", -1, 1)):
            arrays[(kind, *block, "norm", name)] = rng.uniform(low, high, H)
        for name, low, high in (("mean", -1, 1), ("var", 0.5, 1.5)):
            arrays[("batch_stats", *block, "norm", name)] = rng.uniform(low, high, H)
    arrays = {key: array.astype(np.float32) for key, array in arrays.items()}
    leaves = {key: Leaf(key, array.shape, str(array.dtype), "array") for key, array in arrays.items()}
    layers = find_layers(leaves)
    systems = {layer.name.split("/")[-2]: _system(layer, arrays, config) for layer in layers}
    return Model(read_spec(leaves, layers, config), nested(arrays), systems, length)


def _system(layer: Layer, arrays: Mapping[Key, np.ndarray], config: ModelConfig) -> System:
    return build_system(layer, {name: arrays[key] for name, key in layer.leaves.items()}, config)
