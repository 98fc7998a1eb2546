"""What can be removed from a Mamba-2 mixer, and which rows and columns of its tensors each unit owns."""

from __future__ import annotations

from dataclasses import dataclass

from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.target import Role, Segment, Segments, Shapes

IN, CONV, OUT, NORM = "in_proj.weight", "conv1d.weight", "out_proj.weight", "norm.weight"
IN_BIAS, OUT_BIAS = "in_proj.bias", "out_proj.bias"
ROWS_OF = {IN: -2, IN_BIAS: -1, CONV: -3, "conv1d.bias": -1}
"""Which axis of a tensor has the rows of in_proj or the channels of the convolution."""

TARGETS = ("states", "heads", "channels", "groups")


@dataclass(frozen=True)
class _Part:
    """Rows of one part that units own: `block` rows each, the units of each group standing `copies` times in a row."""

    part: str
    role: Role
    block: int = 1
    copies: int = 1


def units(sizes: Mixer, target: str) -> tuple[int, int]:
    """How many units in each of how many groups, (G, N); of every group as many are kept."""
    if target == "states":
        return sizes.groups, sizes.states
    if target == "channels":
        return (sizes.groups if sizes.settings.rows == "shared" else sizes.heads), sizes.head_dim
    if target == "groups":
        return 1, sizes.groups
    groups = 1 if own_group(sizes) else sizes.settings.norm_groups or sizes.groups
    return groups, sizes.heads // groups


def own_group(sizes: Mixer) -> bool:
    """Whether each head has a B and C of its own, so that any number of heads may go."""
    return sizes.groups == sizes.heads and sizes.settings.rows != "shared"


def segments(sizes: Mixer, target: str, shapes: Shapes) -> Segments:
    """The segments of every tensor that carries units of a target, by its name below the mixer's prefix.

    A state owns its rows of B and C, in in_proj and in the convolution. A head owns its rows of z, x and the step, its
    channels and what stands once a head; where every head has a B and C of its own, those too. A channel owns its
    rows of z and x. Where x is shared by several heads, a head owns no x, and channels go from all of them together.
    A group owns the rows of all of its states.
    """
    parts = _parts(sizes, target)
    found: dict[str, list[Segment]] = {}
    for tensor, axis in ROWS_OF.items():
        rows = sizes.rows if tensor.startswith("in_proj") else sizes.conv_rows
        owned = [Segment(axis, rows[p.part][0], p.block, 1, None, p.role, p.copies) for p in parts if p.part in rows]
        if tensor in shapes and owned:
            found[tensor] = owned
    if target in ("heads", "channels"):
        block, copies = (sizes.head_dim, 1) if target == "heads" else (1, sizes.heads // units(sizes, target)[0])
        found[OUT] = [Segment(-1, sizes.beside, block, role="readout", copies=copies)]
        for name in (NORM, "z_bias"):
            if name in shapes:
                found[name] = [Segment(-1, 0, block, copies=copies)]
        for name in ("A_log", "dt_bias", "D"):
            if name in shapes and (wide := shapes[name][0] // sizes.heads) and (target == "heads" or wide > 1):
                found[name] = [Segment(-1, 0, wide if target == "heads" else 1)]
    return {tensor: tuple(owned) for tensor, owned in found.items()}


def _parts(sizes: Mixer, target: str) -> list[_Part]:
    shared, per_group = sizes.settings.rows == "shared", sizes.heads // sizes.groups
    if target == "states":
        return [_Part("B", "input"), _Part("C", "readout", copies=per_group if shared else 1)]
    if target == "groups":
        return [_Part("B", "input", sizes.states), _Part("C", "readout", sizes.states)]
    block = sizes.head_dim if target == "heads" else 1
    parts = [_Part("z", "readout", block, per_group if shared and target == "channels" else 1)]
    if not shared or target == "channels":
        parts.append(_Part("x", "input", block))
    if target == "heads":
        parts.append(_Part("dt", "dynamics"))
        if shared:
            parts.append(_Part("C", "readout", sizes.states))
        elif own_group(sizes):
            parts += [_Part("B", "dynamics", sizes.states), _Part("C", "dynamics", sizes.states)]
    return parts
