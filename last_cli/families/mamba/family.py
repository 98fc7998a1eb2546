"""Mamba-1 mixers of language models, of one head or, in Zamba, of several: found by their tensors.

Leaves: those of mixer.ONE_HEAD or mixer.SEVERAL_HEADS; biases and, in Jamba, weights of the norms of B and C. What
tells such mixers stands in `table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from last_cli.families.family import Family, Sizes
from last_cli.families.front import front
from last_cli.families.mamba.dialect import Settings, settings
from last_cli.families.mamba.mixer import Mixer, mixer
from last_cli.families.mamba.table import MAMBA, ZAMBA
from last_cli.families.mamba.targets import segments, units
from last_cli.families.target import Shapes, Target

MULTIPLES = {"states": 8}
"""Of what the kernels for GPUs want a multiple."""

NORMED = "B and C are normed over the states, so those that stay are others than before: removal is inexact by nature"


def mamba_bound(files: Mapping[str, Any]) -> Family:
    """Mixers of one head in the model of these configuration files; see Family.bound."""
    return _bound(MAMBA, ("states", "channels"), settings(files))


def zamba_bound(files: Mapping[str, Any]) -> Family:
    """The same of several heads."""
    return _bound(ZAMBA, ("states", "heads", "channels"), settings(files))


def _bound(family: Family, targets: Sequence[str], said: Settings) -> Family:
    return replace(
        family,
        sizes=sizes,
        targets=tuple(_target(name, said) for name in targets),
        energies={("hinf", "states"): partial(_hinf, said), ("magnitude", "states"): _magnitude},
        memory=memory,
        bound=None,
    )


def sizes(shapes: Shapes) -> Sizes:
    """See Family.sizes."""
    found, (width, _) = mixer(shapes), shapes["out_proj.weight"]
    features = shapes["in_proj.weight"][1]
    return Sizes(found.states, found.heads, features, 1, None if width == features else width)


def memory(shapes: Shapes) -> int:
    """Numbers that a mixer remembers of a sequence: its states, and what the convolution still sees."""
    found: Mixer = mixer(shapes)
    return found.inner * (found.states + shapes["conv1d.weight"][-1])


def _hinf(said: Settings, leaves: Mapping[str, np.ndarray]) -> np.ndarray:
    from last_cli.families.mamba.norms import state_energies

    return state_energies(leaves, front(leaves), said.eps)


def _magnitude(leaves: Mapping[str, np.ndarray]) -> np.ndarray:
    from last_cli.families.mamba.norms import magnitudes

    return magnitudes(leaves)


def _target(name: str, said: Settings) -> Target:
    return Target(
        name,
        lambda shapes: units(mixer(shapes), name),
        lambda shapes: segments(mixer(shapes), name, shapes),
        scope="layer",
        even=True,
        multiple=MULTIPLES.get(name, 1),
        flat=name == "heads",
        inexact=NORMED if name == "states" and said.eps is not None else None,
    )
