"""What can be removed from a Mamba-1 mixer, and which entries of its tensors each unit owns."""

from __future__ import annotations

from last_cli.families.mamba.mixer import Mixer
from last_cli.families.mamba.table import B_NORM, C_NORM
from last_cli.families.target import Segment, Segments, Shapes


def units(sizes: Mixer, target: str) -> tuple[int, int]:
    """How many units in each of how many groups, (G, N); of every group as many are kept."""
    if target == "heads":
        return 1, sizes.heads
    return sizes.heads, sizes.states if target == "states" else sizes.channels


def segments(sizes: Mixer, target: str, shapes: Shapes) -> Segments:
    """The segments of every tensor that carries units of a target, by its name below the mixer's prefix.

    A state owns its rows of B and C in x_proj and its poles, a column of A_log. A channel owns its rows of x and z, its
    column of x_proj and what stands once a channel. A head owns that of all its channels, and its states.
    """
    if target == "states":
        found = _states(sizes)
    else:
        found = {**_outside(sizes, target), **(_inside(target) if sizes.apart else _INSIDE)}
    return {name: owned for name, owned in found.items() if name in shapes}


def _states(sizes: Mixer) -> Segments:
    group = -3 if sizes.apart else None
    return {
        "A_log": (Segment(-1, group_axis=group),),
        "x_proj_weight" if sizes.apart else "x_proj.weight": (
            Segment(-2, sizes.rank, group_axis=group, role="input"),
            Segment(-2, sizes.rank + sizes.states, group_axis=group, role="readout"),
        ),
        B_NORM: (Segment(-1),),
        C_NORM: (Segment(-1),),
    }


def _outside(sizes: Mixer, target: str) -> Segments:
    """What heads hold one after the other along one axis."""
    block = sizes.channels if target == "heads" else 1
    both = (Segment(-2, 0, 2 * block, role="readout"),)
    if not sizes.apart:
        both = (Segment(-2, 0, role="input"), Segment(-2, sizes.inner, role="readout"))
    return {
        "in_proj.weight": both,
        "in_proj.bias": tuple(Segment(-1, part.start, part.block, role=part.role) for part in both),
        "conv1d.weight": (Segment(-3, 0, block),),
        "conv1d.bias": (Segment(-1, 0, block),),
        "out_proj.weight": (Segment(-1, 0, block, role="readout"),),
    }


# x_proj reads a channel: without it B, C and the step hear nothing of the bias of its convolution.
_INSIDE: Segments = {
    "x_proj.weight": (Segment(-1, role="readout"),),
    "dt_proj.weight": (Segment(-2),),
    "dt_proj.bias": (Segment(-1),),
    "A_log": (Segment(-2),),
    "D": (Segment(-1),),
}


def _inside(target: str) -> Segments:
    """What heads hold along an axis of their own."""
    if target == "heads":
        axes = {"x_proj_weight": -3, "dt_proj_weight": -3, "dt_proj_bias": -2, "A_log": -3, "D": -2}
        return {name: (Segment(axis),) for name, axis in axes.items()}
    return {
        "x_proj_weight": (Segment(-1, group_axis=-3, role="readout"),),
        "dt_proj_weight": (Segment(-2, group_axis=-3),),
        "dt_proj_bias": (Segment(-1, group_axis=-2),),
        "A_log": (Segment(-2, group_axis=-3),),
        "D": (Segment(-1, group_axis=-2),),
    }
