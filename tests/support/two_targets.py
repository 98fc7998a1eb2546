"""A family of two targets, with a System and without one: what holds for it holds for families that are yet to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from random_layers import Arrays, single, write

import last_cli as last
from last_cli.families.family import Family, Sizes
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.system import System
from last_cli.families.target import Segment, Segments, Shapes, Target

STATES, INPUTS, HEADS, CHANNELS = 6, 3, 4, 2
TARGETS = ("heads", "states")


def head_segments(shapes: Shapes) -> Segments:
    """Heads of a few channels each, after one output that is nobody's; `mix` holds them twice."""
    channels = (shapes["W_out"][0] - 1) // shapes["scale"][0]
    return {
        "scale": (Segment(-1),),
        "mix": (Segment(-2, block=channels, repeat=2, role="input"),),
        "W_out": (Segment(-2, start=1, block=channels, role="readout"),),
        "D": (Segment(-1, start=1, block=channels),),
    }


STATE_SEGMENTS = {
    "decay": (Segment(-1),),
    "W_in": (Segment(-2, role="input"),),
    "W_out": (Segment(-1, role="readout"),),
}
BOTH = (
    Target("heads", lambda shapes: (1, shapes["scale"][0]), head_segments),
    Target("states", lambda shapes: (1, shapes["decay"][0]), lambda shapes: STATE_SEGMENTS),
)


def system(leaves: Mapping[str, Any], config: ModelConfig) -> System:
    """Leaky integrators, read by all heads."""
    lam, B, C = (part + 0j for part in (np.exp(-np.exp(leaves["decay"])), leaves["W_in"], leaves["W_out"]))
    return System(lam=lam[None], B=B[None], C=C[None, None], D=leaves["D"], gain=1.0)


NONLINEAR = Family(
    name="fake-heads",
    kind="fake-heads",
    summary="heads that read leaky integrators, of which nobody knows a System",
    required=frozenset({"decay", "W_in", "W_out", "scale", "mix", "D"}),
    sizes=lambda s: Sizes(s["decay"][0], groups=1, features=s["W_in"][1], directions=1, outputs=s["D"][0]),
    targets=BOTH,
    options=(),
)
LINEAR = replace(NONLINEAR, system=system)
HEADS_ONLY = replace(NONLINEAR, targets=BOTH[:1])
LINEAR_HEADS_ONLY = replace(LINEAR, targets=BOTH[:1])


def layer_arrays(rng: np.random.Generator) -> Arrays:
    outputs = 1 + HEADS * CHANNELS
    sizes = {"decay": (STATES,), "W_in": (STATES, INPUTS), "W_out": (outputs, STATES), "D": (outputs,)}
    sizes |= {"scale": (HEADS,), "mix": (2 * HEADS * CHANNELS, INPUTS)}
    return single({name: rng.normal(size=shape) for name, shape in sizes.items()})


def checkpoint(path: Path) -> last.Checkpoint:
    """Two such layers on disk, with a moment of their parameters."""
    rng, arrays = np.random.default_rng(0), {}
    for i in range(2):
        for name, array in layer_arrays(rng).items():
            arrays["params", f"layers_{i}", "mixer", name] = array
            arrays["opt_state", "0", "mu", f"layers_{i}", "mixer", name] = 1 + array
    return last.load(write(path, arrays))
