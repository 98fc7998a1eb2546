"""What a pruning changes in the configuration files of a language model: sizes, and epsilons of the gate's norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.mamba2.dialect import EPS_LIST, MAIN, MAMBA, NORM_GROUPS, TYPES
from last_cli.families.mamba2.stock import LOSS, in_transformers
from last_cli.families.mamba2.widths import Change, Widths, change_of
from last_cli.families.resizing import Resizing, Shrinking

Path = tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """Where a library other than transformers has its sizes.

    Attributes:
        file: of the configuration.
        core: the path of the sizes in it.
        lists: the path of the numbers for each layer.
        sizes: keys of these, where layers differ or the keys below cannot say them.
        heads, groups, head_dim, beside: keys; the last is of the channels where a gated MLP has others.
        inner: the path of the channels; where there is none, their ratio to the model's width is a whole number.
        shared: the path of the channels of x, where heads share it.
    """

    file: str
    core: Path
    lists: Path
    sizes: Mapping[str, Callable[[Widths], int]]
    heads: str | None = None
    groups: str | None = None
    head_dim: str | None = None
    beside: str | None = None
    inner: Path | None = None
    shared: Path | None = None


_SIZES: dict[str, Callable[[Widths], int]] = {
    "d_inner_list": lambda w: w.outer,
    "headdim_list": lambda w: w.head_dim,
    "nheads_list": lambda w: w.heads,
    "ngroups_list": lambda w: w.groups,
    "d_state_list": lambda w: w.states,
}
"""What the paper's code writes beside mamba_ssm's own keys: an entry for each layer."""

_SSM_SIZES: dict[str, Callable[[Widths], int]] = {
    **_SIZES,
    "d_ssm_list": lambda w: w.inner,
    "in_proj_out_features_list": lambda w: w.rows,
    "out_proj_in_features_list": lambda w: w.outer,
    "conv_dim_list": lambda w: w.conv,
}
_DISCRETE_SIZES: dict[str, Callable[[Widths], int]] = {
    {"nheads_list": "n_v_heads_list", "ngroups_list": "n_qk_heads_list"}.get(name, name): size
    for name, size in _SIZES.items()
}
_SHARED_SIZES = {**_SIZES, "ngroups_list": lambda w: w.heads}  # there every head has a C of its own
_PHI, _CORE = ("Block1", "core_input"), ("ssm_cfg",)

_SAME = "⟦scope layer⟧ keeps as many in every layer"

LIBRARIES = {
    "mamba_ssm": Library(MAIN, _CORE, (), _SSM_SIZES, groups="ngroups", head_dim="headdim", beside="d_ssm"),
    "phi-mamba": Library(MAIN, _PHI, _PHI, _DISCRETE_SIZES, "n_v_heads", "n_qk_heads"),
    "llamba": Library(MAIN, _CORE, _CORE, _DISCRETE_SIZES, "n_v_heads", "n_qk_heads"),
    "mamba-in-llama": Library(
        MAMBA, _CORE, _CORE, _SHARED_SIZES, "ngroups", None, "headdim", inner=("d_inner",), shared=("d_xb",)
    ),
}


def resized(pruning: Shrinking) -> Resizing:
    """What changes with the arrays that are cut; see Family.resized.

    Raises:
        UsageError: what loads the model cannot be told of its sizes.
    """
    change = change_of(pruning)
    return in_transformers(change) if change.said.name in TYPES else _in_library(change)


def _in_library(change: Change) -> Resizing:
    library, pruning = LIBRARIES[change.said.name], change.pruning
    there: Any = pruning.files.get(library.file) or {}
    for part in library.lists:
        there = there.get(part) or {}
    values = _one_for_all(library, change.before[0], change.after[0], change.width) if change.alike else None
    if values is None and library.shared and pruning.target == "channels":
        raise UsageError(f"layers would keep different numbers of channels, and {change.said.name} has one", _SAME)
    lists = {name for name in library.sizes if name in there}
    if values is None:
        lists |= {"d_state_list"} if pruning.target == "states" else set(library.sizes)
    values = dict(values or {})
    if change.biased:
        raise UsageError(f"{change.said.name} has a bias of out_proj only where in_proj has one", "leave it out")
    if change.merged and pruning.stock:
        raise UsageError(f"{change.said.name} has as many groups in the gate's norm as of B and C", "leave out ⟦stock⟧")
    if change.merged:  # In its own key the groups of the norm stay, so that no other code takes it for a whole model.
        values.pop((*library.core, library.groups or ""), None)
        values[(NORM_GROUPS,)] = change.after[0].norm_groups
        lists |= {"ngroups_list"}
    values |= {(*library.lists, name): [library.sizes[name](one) for one in change.after] for name in sorted(lists)}
    sizes = {library.file.removeprefix("file:"): values}
    if not (arrays := change.norms(single=not pruning.stock)):
        return Resizing(sizes)
    if pruning.stock:
        said = f"{change.said.name} has one epsilon, {change.said.eps:g}, for the gate's norm of every model"
        return Resizing(sizes, arrays, inexact=f"{said}: the output differs from the masked model's by {LOSS}")
    return Resizing(sizes, arrays, {library.file.removeprefix("file:"): {(EPS_LIST,): change.eps}})


def _one_for_all(library: Library, before: Widths, after: Widths, width: int) -> dict[Path, Any] | None:
    """The values of a library's own keys where all layers are alike; None where they cannot say these sizes."""
    values: dict[Path, Any] = {
        (*library.core, key): new
        for key, old, new in (
            ("d_state", before.states, after.states),
            (library.heads, before.heads, after.heads),
            (library.groups, before.groups, after.groups),
            (library.head_dim, before.head_dim, after.head_dim),
            (library.beside if before.beside else None, before.inner, after.inner),
        )
        if key and old != new
    }
    if before.inner == after.inner:
        return values
    expand = after.outer // width if after.outer % width == 0 else after.outer / width
    if library.shared and before.head_dim != after.head_dim:
        values[library.shared] = after.groups * after.head_dim
    if library.inner:
        return values | {library.inner: after.inner, (*library.core, "expand"): expand}
    return values | {(*library.core, "expand"): expand} if isinstance(expand, int) else None
