"""The entries of Mamba-1 mixers: what tells them, and where the rest is, which is imported when a tree has some."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from last_cli.families.family import Family
from last_cli.families.front import BESIDE
from last_cli.families.target import Shapes, Target
from last_cli.formats.format import lazy

B_NORM, C_NORM = "b_layernorm.weight", "c_layernorm.weight"

_REQUIRED = {"D", "in_proj.weight", "conv1d.weight", "out_proj.weight"}
_OPTIONAL = {"A_log", "in_proj.bias", "conv1d.bias", "out_proj.bias", "dt_layernorm.weight", B_NORM, C_NORM}


def _unbound(shapes: Shapes) -> Any:
    raise AssertionError(f"only `bound` makes a family that reads {sorted(shapes)}")


def _family(name: str, summary: str, x_proj: str, dt_proj: Set[str]) -> Family:
    return Family(
        name=name,
        kind="mamba",
        summary=summary,
        required=frozenset({*_REQUIRED, x_proj}),
        optional=frozenset({*_OPTIONAL, *dt_proj}),
        beside=BESIDE,
        options=(),
        sizes=_unbound,
        targets=(Target("states", _unbound, _unbound),),
        copied=False,
        network="last_cli.families.mamba.language:LANGUAGE",
        group="head",
        bound=lazy(f"last_cli.families.mamba.family:{name}_bound"),
        resized=lazy("last_cli.families.mamba.resize:resized"),
        loader=lazy("last_cli.families.mamba2.modelling:loader"),
    )


MAMBA = _family(
    "mamba",
    "a Mamba-1 mixer of a language model; A_log, D, in_proj, conv1d, x_proj, dt_proj, out_proj",
    "x_proj.weight",
    {"dt_proj.weight", "dt_proj.bias"},
)
ZAMBA = _family(
    "zamba",
    "a Mamba-1 mixer of several heads, each with its states; as mamba, with x_proj_weight and dt_proj_weight",
    "x_proj_weight",
    {"dt_proj_weight", "dt_proj_bias"},
)
