"""Random classifiers with an optimizer's state, pruned, and a file of inputs to tune them on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from random_layers import KINDS, classifier, write
from random_networks import TEMPORARY, held

import last_cli as last
from last_cli.formats import Key


def options(kind: str) -> dict[str, Any]:
    config = KINDS[kind].config
    names = ("conj_sym", "clip_eigs", "discretization", "step_rescale")
    return {name: getattr(config, name) for name in names}


@cache
def whole(kind: str, states: int = 4) -> last.Checkpoint:
    """A classifier of one block, on disk, with moments as Adam has them and an average of the parameters."""
    arrays = classifier(kind, 0, blocks=1, states=states, features=2, inputs=3, classes=3)
    arrays["params", "decoder", "kernel"] *= 10  # so that answers depend on the states
    params = {key: array for key, array in arrays.items() if key[0] == "params"}
    for name, shift in (("mu", 1), ("nu", 2)):
        arrays |= {("opt_state", "0", name, *key[1:]): array + shift for key, array in params.items()}
    arrays |= {("ema_params", *key[1:]): array + 3 for key, array in params.items()}
    arrays[("opt_state", "0", "count")] = np.array(7, np.int32)
    return held(last.load(write(Path(TEMPORARY.name) / f"tuned-{kind}-{states}", arrays), **options(kind)))


@cache
def small(kind: str) -> last.Checkpoint:
    """The same with a quarter of its states, saved and opened."""
    path = Path(TEMPORARY.name) / f"tuned-{kind}-small"
    shape = "ragged" if kind == "s4d" else None  # so that one has padding
    last.save(last.prune(whole(kind), 0.75, shape=shape), path)
    return held(last.load(path))


@cache
def inputs(count: int = 40, length: int = 12, d: int = 3) -> Path:
    """A file of features."""
    path = Path(TEMPORARY.name) / f"inputs-{count}-{length}-{d}.npz"
    np.savez(path, x=np.random.default_rng(1).normal(size=(count, length, d)).astype(np.float32))
    return path


def all_arrays(checkpoint: last.Checkpoint) -> dict[Key, np.ndarray]:
    return checkpoint.read(key for key, leaf in checkpoint.leaves.items() if leaf.kind in ("array", "scalar"))


def trained_keys(checkpoint: last.Checkpoint, names: Any) -> set[Key]:
    return {layer.leaves[name] for layer in checkpoint.layers for name in names if name in layer.leaves}
