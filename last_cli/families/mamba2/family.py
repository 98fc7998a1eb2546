"""Mamba-2 mixers of language models, whoever wrote them: found by their tensors, their groups said by configurations.

Leaves: in_proj.weight, conv1d.weight, out_proj.weight, D; A_log and dt_bias where there is a step; biases and the
weight of the gate's norm where a model has them. What lies in which rows stands in `mixer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from last_cli.families.family import Family, Sizes, expect_ndim
from last_cli.families.front import front
from last_cli.families.mamba2.dialect import Settings, settings
from last_cli.families.mamba2.mixer import Mixer, mixer
from last_cli.families.mamba2.norms import (
    by_unit,
    channel_magnitudes,
    head_energies,
    head_magnitudes,
    magnitudes,
    measured_energies,
    part_magnitudes,
    state_energies,
)
from last_cli.families.mamba2.table import BIASES, MAMBA2
from last_cli.families.mamba2.targets import OUT_BIAS, TARGETS, segments, units
from last_cli.families.target import Shapes, Target, by_shapes

MULTIPLES = {"states": 8}
"""Of what the kernels for GPUs want a multiple."""

ORDERS = ("fisher", "taylor")
"""What the loss on text minds, see network.slopes."""
UNITS = ("heads", "channels")
"""What fills columns of out_proj."""
REFERENCES = ("reference-fisher", "reference-taylor")
"""The same of states as the paper's code has it."""

_NDIM = {"in_proj.weight": 2, "conv1d.weight": 3, "out_proj.weight": 2, "A_log": 1, "dt_bias": 1, "norm.weight": 1}


def mixer_of(shapes: Shapes, said: Settings) -> Mixer:
    """The mixer of these leaves; raises CheckpointError where they do not belong together."""
    for name, ndim in [*_NDIM.items(), *((name, 1) for name in BIASES)]:
        if name in shapes:
            expect_ndim(shapes, name, f"{ndim} axes", (ndim,))
    expect_ndim(shapes, "D", "(H,)", (1,))
    return mixer(shapes, said)


def bound(files: Mapping[str, Any]) -> Family:
    """The family in the model of these configuration files; see Family.bound."""
    return of_settings(settings(files))


def of_settings(said: Settings) -> Family:
    """The family in a model whose mixers are so."""

    @by_shapes
    def own(shapes: Shapes) -> Mixer:
        return mixer_of(shapes, said)

    def sizes(shapes: Shapes) -> Sizes:
        found = own(shapes)
        return Sizes(found.states, found.groups, shapes["in_proj.weight"][1], 1, _other(shapes))

    return replace(
        MAMBA2,
        sizes=sizes,
        targets=tuple(_target(name, own) for name in TARGETS if name != "groups" or said.rows != "shared"),
        bound=None,
        energies={
            ("hinf", "states"): partial(_hinf, said, state_energies),
            ("hinf", "heads"): partial(_hinf, said, head_energies),
            ("magnitude", "states"): partial(_magnitude, said, magnitudes),
            **{
                ("reference-magnitude" + of, "states"): partial(_magnitude, said, partial(part_magnitudes, part))
                for of, part in (("", "B"), (" readouts", "C"))
            },
            ("magnitude", "heads"): partial(_magnitude, said, head_magnitudes),
            ("magnitude", "channels"): partial(_magnitude, said, channel_magnitudes),
        },
        respond=partial(_respond, said),
        on_inputs={
            ("hinf", "states"): partial(_measured_hinf, said),
            ("energy", "states"): lambda leaves, means: means["energy"],
            ("energy", "heads"): partial(_by_unit, said, "heads", "heads"),
            ("energy", "channels"): partial(_by_unit, said, "channels", "channels"),
            **{("flap", target): partial(_flap, said, target) for target in UNITS},
            ("reference-flap", "heads"): partial(_reference_flap, said),
            **{(order, "states"): partial(_of_states, order) for order in (*ORDERS, *REFERENCES)},
            **{(order, t): partial(_by_unit, said, t, order) for order in ORDERS for t in UNITS},
        },
        memory=lambda shapes: memory(own(shapes), shapes),
        made_up={
            **{("flap", target): partial(_bias, said, target) for target in UNITS},
            ("reference-flap", "heads"): partial(_bias, said, "heads"),
        },
    )


def memory(found: Mixer, shapes: Shapes) -> int:
    """Numbers that a mixer remembers of a sequence: its states, and what the convolution still sees."""
    channels, _, width = shapes["conv1d.weight"]
    return found.inner * found.states + channels * width


def _other(shapes: Shapes) -> int | None:
    inputs, outputs = shapes["in_proj.weight"][1], shapes["out_proj.weight"][0]
    return None if inputs == outputs else outputs


def _target(name: str, own: Callable[[Shapes], Mixer]) -> Target:
    return Target(
        name,
        lambda shapes: units(own(shapes), name),
        by_shapes(lambda shapes: segments(own(shapes), name, shapes)),
        scope="layer",
        even=name != "groups",
        multiple=MULTIPLES.get(name, 1),
        flat=name == "heads",
        merged=name == "groups",
    )


def _own(said: Settings, leaves: Mapping[str, np.ndarray]) -> Mixer:
    return mixer_of({name: array.shape for name, array in leaves.items()}, said)


def _hinf(said: Settings, energies: Callable[..., np.ndarray], leaves: Mapping[str, np.ndarray]) -> np.ndarray:
    return energies(_own(said, leaves), leaves, front(leaves))


def _measured_hinf(said: Settings, leaves: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> np.ndarray:
    return measured_energies(_own(said, leaves), leaves, means)


def _of_states(order: str, leaves: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> np.ndarray:
    return means[order]


def _by_unit(
    said: Settings, target: str, name: str, leaves: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]
) -> np.ndarray:
    return by_unit(_own(said, leaves), target, means[name], means.get("x"))


def _flap(said: Settings, target: str, leaves: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> np.ndarray:
    from last_cli.families.mamba2.flap import scores

    return scores(_own(said, leaves), target, leaves, means)


def _reference_flap(said: Settings, leaves: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> np.ndarray:
    from last_cli.families.mamba2.flap import reference_scores

    return reference_scores(_own(said, leaves), leaves, means)


def _bias(
    said: Settings, target: str, leaves: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray], keep: np.ndarray
) -> dict[str, np.ndarray]:
    from last_cli.families.mamba2.flap import bias

    return {OUT_BIAS: bias(_own(said, leaves), target, leaves, means, keep)}


def _magnitude(said: Settings, energies: Callable[..., np.ndarray], leaves: Mapping[str, np.ndarray]) -> np.ndarray:
    return energies(_own(said, leaves), leaves)


def _respond(said: Settings, leaves: Mapping[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    from last_cli.families.mamba2.response import response

    return response(_own(said, leaves), leaves, inputs)
