"""The entry of Mamba-2 mixers: what tells them, and where the rest is, which is imported when a tree has some."""

from __future__ import annotations

from typing import Any

from last_cli.families.family import Family, Relative
from last_cli.families.front import BESIDE
from last_cli.families.target import Shapes, Target
from last_cli.formats.format import lazy

BIASES = ("in_proj.bias", "conv1d.bias", "out_proj.bias", "z_bias")

GATED_DELTA = Relative(
    "a gated delta net",
    "its state is a matrix that is written over, no Mamba state",
    lambda shapes: _gated_delta(shapes),
)


def _gated_delta(shapes: Shapes) -> bool:
    if "A_log" not in shapes and not any(path.endswith("/A_log") for path in shapes):
        return False
    names = {path.rpartition("/")[2] for path in shapes}
    own = any(path.replace("/", ".").endswith("in_proj.weight") for path in shapes)  # of a mixer that lost its D
    return "D" not in names and not own


def _unbound(shapes: Shapes) -> Any:
    raise AssertionError(f"only `bound` makes a family that reads {sorted(shapes)}")


MAMBA2 = Family(
    name="mamba2",
    kind="mamba2",
    summary="a Mamba-2 mixer of a language model; A_log, D, in_proj, conv1d, out_proj and what configurations say",
    required=frozenset({"D", "in_proj.weight", "conv1d.weight", "out_proj.weight"}),
    optional=frozenset({"A_log", "dt_bias", "norm.weight", *BIASES}),
    absent=frozenset({"x_proj.weight", "x_proj_weight"}),
    beside=BESIDE,
    options=(),
    sizes=_unbound,
    targets=(Target("states", _unbound, _unbound),),
    copied=False,
    network="last_cli.families.mamba2.network.language:LANGUAGE",
    group="group",
    bound=lazy("last_cli.families.mamba2.family:bound"),
    resized=lazy("last_cli.families.mamba2.resize:resized"),
    loader=lazy("last_cli.families.mamba2.modelling:loader"),
    stock=lazy("last_cli.families.mamba2.convert:stock"),
    relatives=(GATED_DELTA,),
)
