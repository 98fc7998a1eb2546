"""One Mamba-2 mixer: its sizes, and which rows of its tensors belong to what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from last_cli.base.errors import CheckpointError
from last_cli.families.mamba2.dialect import Settings
from last_cli.families.target import Shapes

_TENSORS = ("D", "in_proj.weight", "conv1d.weight", "out_proj.weight")

Slices = Mapping[str, tuple[int, int]]
"""Rows of a tensor, from one to before another, by what they hold."""


@dataclass(frozen=True)
class Mixer:
    """The sizes of a mixer.

    Attributes:
        heads, head_dim: H heads of P channels.
        groups, states: B and C of N states for each of G groups of heads.
        beside: channels z0 and x0 of a gated MLP that shares the projections (mamba_ssm's d_ssm).
        rows, conv_rows: of in_proj and of conv1d.
        settings: of the model.
    """

    heads: int
    head_dim: int
    groups: int
    states: int
    beside: int
    rows: Slices
    conv_rows: Slices
    settings: Settings

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.head_dim

    @property
    def norm_groups(self) -> int:
        """Into how many parts the gate's norm divides the channels."""
        return self.heads if self.settings.norm_by_head else self.settings.norm_groups or self.groups


def mixer(shapes: Shapes, settings: Settings) -> Mixer:
    """The sizes of a mixer from the shapes of its tensors, by their names below the mixer's prefix.

    Raises:
        CheckpointError: the shapes disagree, or the number of groups does not fit them.
    """
    step = () if settings.rows == "discrete" else ("A_log", "dt_bias")
    if missing := [name for name in (*_TENSORS, *step) if not shapes.get(name)]:
        raise CheckpointError(f"no {missing[0]}, which a mixer of {settings.name} has")
    heads = shapes["D" if settings.rows == "discrete" else "A_log"][0]
    out, conv, rows = shapes["out_proj.weight"][1], shapes["conv1d.weight"][0], shapes["in_proj.weight"][0]
    inner, beside = out, 0
    if settings.name == "mamba_ssm" and (gated := (rows - heads - conv - out)) > 0:
        # in_proj: 2 x beside + inner + conv + heads, out_proj: beside + inner.
        inner, beside = out - gated, gated
    _divides("channels", inner, heads, "heads")
    if settings.rows == "shared":
        kv = _divides("channels of x", settings.shared, inner // heads, "channels of a head")
        pairs, groups = rows - inner - settings.shared - heads, kv
        states = _divides("rows of B and C", pairs, kv + heads, "heads")
        parts = {"z": inner, "x": settings.shared, "B": kv * states, "C": heads * states, "dt": heads}
    else:
        groups = heads if settings.own_groups else settings.groups
        states = _divides("rows of B and C", conv - inner, 2 * groups, "groups, twice")
        wide = {"x": inner, "B": groups * states, "C": groups * states}
        parts = {**wide, "z": inner, "dt": heads}
        if settings.rows == "mamba2":
            parts = {"z0": beside, "x0": beside, "z": inner, **wide, "dt": heads}
    _divides("heads", heads, groups, "groups")
    found, conv_rows = _slices(parts), _slices({part: parts[part] for part in ("x", "B", "C")})
    for name, expected, size in (("in_proj.weight", found["dt" if "dt" in found else "z"][1], rows),):
        if max(end for _, end in found.values()) != size:
            raise CheckpointError(f"{name} has {size} rows, expected {max(expected, *(e for _, e in found.values()))}")
    if conv_rows["C"][1] != conv:
        raise CheckpointError(f"conv1d.weight has {conv} channels, expected {conv_rows['C'][1]}")
    return Mixer(heads, inner // heads, groups, states, beside, found, conv_rows, settings)


def _slices(sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    found, at = {}, 0
    for part, size in sizes.items():
        found[part] = (at, at + size)
        at += size
    return found


def _divides(what: str, size: int, parts: int, of: str) -> int:
    if parts <= 0 or size <= 0 or size % parts:
        raise CheckpointError(f"{size} {what} do not divide into {parts} {of}")
    return size // parts
