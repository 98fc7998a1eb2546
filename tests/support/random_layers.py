"""Random layers of every family, and tiny classifiers around them: what the invariants are checked on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings

import last_cli as last
from last_cli import formats
from last_cli.families.find import Layer, build_system, find_layers
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.system import System
from last_cli.families.target import Role, take
from last_cli.formats import Key, Leaf

Arrays = dict[str, np.ndarray]
Rng = np.random.Generator

# The same examples in every run: a red test is red for everybody.
fixed = settings(derandomize=True, deadline=None, max_examples=30)


def s5_arrays(rng: Rng, states: int = 6, features: int = 4, readout: str = "C1 C2", re: float = 0.0) -> Arrays:
    """Leaves of an S5 layer; `readout` is "C1 C2", "C" or "C C" (one C of 2P columns). `re` moves the poles right."""
    arrays = {
        "Lambda_re": re - rng.uniform(0.1, 1, states),
        "Lambda_im": -rng.uniform(0, 20, states),
        "B": rng.normal(size=(states, features, 2)),
        "D": rng.normal(size=features),
        "log_step": np.log(rng.uniform(0.01, 0.2, (states, 1))),
    }
    columns = {"C1 C2": ("C1", "C2"), "C": ("C",), "C C": ("C",)}[readout]
    width = 2 * states if readout == "C C" else states
    return single(arrays | {name: rng.normal(size=(features, width, 2)) for name in columns})


def event_arrays(rng: Rng, states: int = 6, features: int = 4, outputs: int | None = None) -> Arrays:
    """Leaves of an S5 layer as event-based models have it: a flat log_step, no D, and maybe other outputs."""
    arrays = s5_arrays(rng, states, features, "C")
    del arrays["D"]
    arrays["C"] = single({"C": rng.normal(size=(outputs or features, states, 2))})["C"]
    return arrays | {"log_step": arrays["log_step"][:, 0]}


def lru_arrays(rng: Rng, states: int = 6, features: int = 4) -> Arrays:
    """Leaves of an LRU layer."""
    decay = rng.uniform(0.01, 0.3, states)
    return single(
        {
            "nu_log": np.log(decay),
            "theta_log": np.log(rng.uniform(0, 3, states)),
            "gamma_log": np.log(-np.expm1(-2 * decay)) / 2,
            **{name: rng.normal(size=(states, features)) for name in ("B_re", "B_im")},
            **{name: rng.normal(size=(features, states)) for name in ("C_re", "C_im")},
            "D": rng.normal(size=features),
        }
    )


def s4d_arrays(rng: Rng, states: int = 6, features: int = 4) -> Arrays:
    """Leaves of an S4D layer as in annotated-s4."""
    return single(
        {
            "A_re": -rng.uniform(0.1, 1, (states, features)),
            "A_im": rng.uniform(-20, 20, (states, features)),
            "B_re": np.ones((states, features)),
            "B_im": np.zeros((states, features)),
            "C": rng.normal(size=(states, features, 2)),
            "D": rng.normal(size=(1, features)),
            "log_step": np.log(rng.uniform(0.01, 0.2, (1, features))),
        }
    )


def s4d_pairs_arrays(rng: Rng, states: int = 6, features: int = 4, directions: int = 1) -> Arrays:
    """Leaves of an S4D layer as in the state-spaces code."""
    shape = (features, states, 2)
    return single(
        {
            "log_A_real": np.log(rng.uniform(0.1, 1, shape[:2])),
            "A_imag": rng.uniform(0, 20, shape[:2]),
            "C": rng.normal(size=shape if directions == 1 else (directions, *shape)),
            "D": rng.normal(size=features),
            "log_dt": np.log(rng.uniform(0.01, 0.2, features)),
        }
    )


def mamba2_arrays(rng: Rng, states: int = 6, features: int = 4) -> Arrays:
    """Leaves of a Mamba-2 mixer of two groups of two heads, with three channels each."""
    heads, inner, conv = 4, 12, 12 + 4 * states
    sizes = {"in_proj.weight": (inner + conv + heads, features), "conv1d.weight": (conv, 1, 4), "conv1d.bias": (conv,)}
    sizes |= {"norm.weight": (inner,), "out_proj.weight": (features, inner)}
    arrays = {name: rng.normal(size=size) for name, size in sizes.items()}
    return single(arrays | {name: rng.uniform(0.5, 1.5, heads) for name in ("A_log", "D", "dt_bias")})


def mamba_arrays(rng: Rng, states: int = 6, features: int = 4) -> Arrays:
    """Leaves of a Mamba-1 mixer of five channels, with norms of B and C as in Jamba."""
    sizes = {"in_proj.weight": (10, features), "conv1d.weight": (5, 1, 4), "conv1d.bias": (5,), "D": (5,)}
    sizes |= {"x_proj.weight": (2 + 2 * states, 5), "dt_proj.weight": (5, 2), "dt_proj.bias": (5,)}
    sizes |= {"A_log": (5, states), "out_proj.weight": (features, 5)}
    sizes |= {"b_layernorm.weight": (states,), "c_layernorm.weight": (states,), "dt_layernorm.weight": (2,)}
    return single({name: rng.normal(size=size) for name, size in sizes.items()})


def zamba_arrays(rng: Rng, states: int = 6, features: int = 4) -> Arrays:
    """Leaves of a Mamba-1 mixer of two heads of five channels."""
    sizes = {"in_proj.weight": (20, features), "conv1d.weight": (10, 1, 4), "conv1d.bias": (10,), "D": (2, 5)}
    sizes |= {"x_proj_weight": (2, 2 + 2 * states, 5), "dt_proj_weight": (2, 5, 2), "dt_proj_bias": (2, 5)}
    sizes |= {"A_log": (2, 5, states), "out_proj.weight": (features, 10)}
    return single({name: rng.normal(size=size) for name, size in sizes.items()})


def single(arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


@dataclass(frozen=True)
class Kind:
    """A kind of layer: how its leaves are drawn, and the configuration that they are read with."""

    family: str
    arrays: Callable[..., Arrays]
    config: ModelConfig = field(default_factory=ModelConfig)
    files: Mapping[str, Any] = field(default_factory=dict)

    def layer(self, seed: int = 0, **sizes: int) -> tuple[Layer, Arrays]:
        """A random layer of this kind, found as in a checkpoint, and its leaves."""
        arrays = self.arrays(np.random.default_rng(seed), **sizes)
        return as_layer(arrays, self.files), arrays

    def system(self, seed: int = 0, **sizes: int) -> System:
        layer, arrays = self.layer(seed, **sizes)
        return build_system(layer, arrays, self.config)


def _s5(readout: str = "C1 C2", re: float = 0.0, **options: Any) -> Kind:
    return Kind("s5", lambda rng, **sizes: s5_arrays(rng, readout=readout, re=re, **sizes), ModelConfig(**options))


# A new family adds its line here, and inherits every invariant of test_contracts.
KINDS = {
    "s5-two-directions": _s5(),
    "s5-one-direction": _s5("C"),
    "s5-one-C-of-two-directions": _s5("C C"),
    "s5-without-pairs": _s5("C", conj_sym=False),
    "s5-clipped": _s5(re=0.5, clip_eigs=True),
    "s5-bilinear": _s5(discretization="bilinear"),
    "s5-rescaled": _s5("C", step_rescale=2.0),
    "s5-events": Kind("s5", event_arrays, ModelConfig(discretization="dirac")),
    "s4d": Kind("s4d", s4d_arrays),
    "s4d-pairs": Kind("s4d-pairs", s4d_pairs_arrays),
    "s4d-pairs-two-directions": Kind("s4d-pairs", lambda rng, **s: s4d_pairs_arrays(rng, directions=2, **s)),
    "lru": Kind("lru", lru_arrays),
}
# One kind for each way in which leaves hold states: the others go the same way through files and networks.
LAYOUTS = ["s5-two-directions", "s5-one-C-of-two-directions", "s4d", "s4d-pairs-two-directions", "lru"]
# Layers that no classifier here is made of.
ALONE = {
    "s5-other-widths": Kind("s5", lambda rng, **s: event_arrays(rng, outputs=3, **s), _s5("C").config),
    "mamba2": Kind("mamba2", mamba2_arrays, files={"file:config.json": {"model_type": "mamba2", "n_groups": 2}}),
    "mamba": Kind("mamba", mamba_arrays, files={"file:config.json": {"model_type": "jamba"}}),
    "zamba": Kind("zamba", zamba_arrays, files={"file:config.json": {"model_type": "zamba"}}),
}


def as_layer(arrays: Mapping[str, np.ndarray], files: Mapping[str, Any] = {}) -> Layer:
    """The layer that these leaves are, and the configuration files beside it."""
    leaves = leaves_of({("params", "layers_0", "seq", name): a for name, a in arrays.items()})
    return find_layers(leaves, files)[0]


def leaves_of(arrays: Mapping[Key, np.ndarray]) -> dict[Key, Leaf]:
    return {key: Leaf(key, array.shape, str(array.dtype), "array") for key, array in arrays.items()}


def taken(layer: Layer, arrays: Mapping[str, np.ndarray], index: np.ndarray, target: str = "states") -> Arrays:
    """A layer's leaves with the units of `index`."""
    units = layer.units[target]
    where = units.segments
    return {n: take(a, where[n], index, units.count) if n in where else a for n, a in arrays.items()}


def leaves_with(layer: Layer, role: Role, target: str = "states") -> set[str]:
    """Names of a layer's leaves that are such to its units: "readout" for those of C."""
    return {name for name in layer.leaves if role in layer.units[target].roles(name)}


def only(system: System, keep: np.ndarray) -> System:
    """The system with the readouts of all other states set to zero."""
    return replace(system, C=np.where(keep[None, :, None, :], system.C, 0))


def simulate(system: System, u: np.ndarray) -> np.ndarray:
    """Outputs (length, outputs) for inputs (length, features), one time step after the other, in float64."""
    inputs, D = u.reshape(len(u), len(system.lam), -1), np.asarray(system.D, np.float64)
    y = D * u if D.any() else np.zeros((len(u), len(D)))
    for direction, C in enumerate(np.asarray(system.C, np.complex128)):
        x = np.zeros(system.lam.shape, np.complex128)
        for t in range(len(u))[:: -1 if direction else 1]:
            before = x
            x = system.lam * x + np.einsum("gnm,gm->gn", system.B, inputs[t])
            seen = before if direction and system.backward_lag else x
            y[t] += system.gain * np.einsum("gkn,gn->gk", C, seen).real.ravel()
    return y


def classifier(
    kind: str = "s5-two-directions",
    seed: int = 0,
    *,
    blocks: int = 2,
    features: int = 4,
    states: int = 6,
    gates: tuple[str, ...] = ("out2",),
    norm: str = "batch",
    nested: bool = True,
    inputs: int = 7,
    classes: int = 5,
) -> dict[Key, np.ndarray]:
    """All variables of a classifier, as in a checkpoint."""
    rng = np.random.default_rng(seed)
    arrays: dict[Key, np.ndarray] = {}

    def dense(*path: str, into: int, out: int) -> None:
        arrays[("params", *path, "kernel")] = rng.normal(size=(into, out)) / np.sqrt(into)
        arrays[("params", *path, "bias")] = rng.normal(size=out) / 10

    above = ("encoder",) if nested else ()
    dense(*above, "encoder", into=inputs, out=features)
    dense("decoder", into=features, out=classes)
    for i in range(blocks):
        block = (*above, f"layers_{i}")
        for name, array in KINDS[kind].arrays(rng, states=states, features=features).items():
            arrays[("params", *block, "seq", name)] = array
        for gate in gates:
            dense(*block, gate, into=features, out=features)
        arrays[("params", *block, "norm", "scale")] = rng.uniform(0.5, 1.5, features)
        arrays[("params", *block, "norm", "bias")] = rng.normal(size=features)
        if norm == "batch":
            arrays[("batch_stats", *block, "norm", "mean")] = rng.normal(size=features)
            arrays[("batch_stats", *block, "norm", "var")] = rng.uniform(0.5, 1.5, features)
    return {key: array.astype(np.float32) for key, array in arrays.items()}


def write(path: Path, arrays: Mapping[Key, np.ndarray], stamp: dict[str, Any] | None = None) -> Path:
    """A checkpoint of these arrays on disk."""
    formats.save(path, source=None, changed=arrays, stamp=stamp or {})
    return path


def written(path: Path, kind: str = "s5-two-directions", seed: int = 0, **options: Any) -> last.Checkpoint:
    """A random classifier on disk, opened with the kind's own configuration."""
    config = KINDS[kind].config
    return last.load(
        write(path, classifier(kind, seed, **options)),
        conj_sym=config.conj_sym,
        clip_eigs=config.clip_eigs,
        discretization=config.discretization,
        step_rescale=config.step_rescale,
    )
