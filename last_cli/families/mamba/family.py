"""Mamba-1 mixers of language models, of one head or, in Zamba, of several: found by their tensors.

Leaves: those of mixer.ONE_HEAD or mixer.SEVERAL_HEADS; biases and, in Jamba, weights of the norms of B and C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from last_cli.families.family import Family, Sizes
from last_cli.families.front import BESIDE, front
from last_cli.families.mamba.dialect import Settings, settings
from last_cli.families.mamba.mixer import B_NORM, C_NORM, ONE_HEAD, SEVERAL_HEADS, Mixer, mixer
from last_cli.families.mamba.targets import segments, units
from last_cli.families.mamba2.modelling import loader
from last_cli.families.resizing import Resizing, Shrinking
from last_cli.families.target import Shapes, Target

MULTIPLES = {"states": 8}
"""Of what the kernels for GPUs want a multiple."""

NORMED = "B and C are normed over the states, so those that stay are others than before: removal is inexact by nature"


def bound(family: Family, files: Mapping[str, Any]) -> Family:
    """The family in the model of these configuration files; see Family.bound."""
    said = settings(files)
    inexact = None if said.eps is None else NORMED
    targets = tuple(replace(t, inexact=inexact if t.name == "states" else None) for t in family.targets)
    energies = {("hinf", "states"): partial(_hinf, said), ("magnitude", "states"): _magnitude}
    return replace(family, targets=targets, energies=energies, bound=None)


def sizes(shapes: Shapes) -> Sizes:
    """See Family.sizes."""
    found, (width, _) = mixer(shapes), shapes["out_proj.weight"]
    features = shapes["in_proj.weight"][1]
    return Sizes(found.states, found.heads, features, 1, None if width == features else width)


def memory(shapes: Shapes) -> int:
    """Numbers that a mixer remembers of a sequence: its states, and what the convolution still sees."""
    found: Mixer = mixer(shapes)
    return found.inner * (found.states + shapes["conv1d.weight"][-1])


def resized(pruning: Shrinking) -> Resizing:
    """See Family.resized."""
    from last_cli.families.mamba import resize  # Layers of other families are found without it.

    return resize.resized(pruning)


def _hinf(said: Settings, leaves: Mapping[str, np.ndarray]) -> np.ndarray:
    from last_cli.families.mamba.norms import state_energies

    return state_energies(leaves, front(leaves), said.eps)


def _magnitude(leaves: Mapping[str, np.ndarray]) -> np.ndarray:
    from last_cli.families.mamba.norms import magnitudes

    return magnitudes(leaves)


def _target(name: str) -> Target:
    return Target(
        name,
        lambda shapes: units(mixer(shapes), name),
        lambda shapes: segments(mixer(shapes), name, shapes),
        scope="layer",
        even=True,
        multiple=MULTIPLES.get(name, 1),
        flat=name == "heads",
    )


def _family(name: str, summary: str, x_proj: str, leaves: Mapping[str, str], targets: Sequence[str]) -> Family:
    required = {"D", "in_proj.weight", "conv1d.weight", "out_proj.weight", x_proj}
    optional = {"in_proj.bias", "conv1d.bias", "out_proj.bias", "dt_layernorm.weight", B_NORM, C_NORM}
    own = Family(
        name=name,
        kind="mamba",
        summary=summary,
        required=frozenset(required),
        optional=frozenset(optional | leaves.keys() - required),
        beside=BESIDE,
        options=(),
        sizes=sizes,
        targets=tuple(map(_target, targets)),
        copied=False,
        network="last_cli.families.mamba.language:LANGUAGE",
        group="head",
        resized=resized,
        loader=loader,
        memory=memory,
    )
    return replace(own, bound=partial(bound, own))


MAMBA = _family(
    "mamba",
    "a Mamba-1 mixer of a language model; A_log, D, in_proj, conv1d, x_proj, dt_proj, out_proj",
    "x_proj.weight",
    ONE_HEAD,
    ("states", "channels"),
)
ZAMBA = _family(
    "zamba",
    "a Mamba-1 mixer of several heads, each with its states; as mamba, with x_proj_weight and dt_proj_weight",
    "x_proj_weight",
    SEVERAL_HEADS,
    ("states", "heads", "channels"),
)
