"""What a pruning changes in the configuration files of a language model: the keys of the sizes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.layer import Layer
from last_cli.families.mamba2.dialect import MAIN, MAMBA, TYPES, Settings, settings
from last_cli.families.mamba2.widths import Widths, widths
from last_cli.formats import format

Path = tuple[str, ...]
_FILE = "file:"


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

LIBRARIES = {
    "mamba_ssm": Library(MAIN, _CORE, (), _SSM_SIZES, groups="ngroups", head_dim="headdim", beside="d_ssm"),
    "phi-mamba": Library(MAIN, _PHI, _PHI, _DISCRETE_SIZES, "n_v_heads", "n_qk_heads"),
    "llamba": Library(MAIN, _CORE, _CORE, _DISCRETE_SIZES, "n_v_heads", "n_qk_heads"),
    "mamba-in-llama": Library(MAMBA, _CORE, _CORE, _SHARED_SIZES, "ngroups", inner=("d_inner",)),
}


def resized(files: Mapping[str, Any], layers: Sequence[Layer], target: str, counts: Sequence[int]) -> format.Settings:
    """The new values of a configuration; see Family.resized.

    Raises:
        UsageError: layers would have different sizes, or such that the classes that read this configuration cannot be
            told of.
    """
    said = settings(files)
    before = [widths(layer, said.norm_by_head) for layer in layers]
    after = [one.keeping(target, n) for one, n in zip(before, counts, strict=True)]
    width = layers[0].sizes.features
    if said.name in TYPES:
        if len(set(after)) > 1:
            raise UsageError(
                f"layers would keep {min(counts)} to {max(counts)} {_each(target, before[0])}, and {said.name} has one "
                "number for all",
                "⟦scope layer⟧ keeps as many in every layer; ⟦stock⟧ fills layers up with zeros to the largest",
            )
        return {
            _name(MAIN): {(*inside(files), *path): n for path, n in _stock(said, before[0], after[0], width).items()}
        }
    library = LIBRARIES[said.name]
    there: Any = files.get(library.file) or {}
    for part in library.lists:
        there = there.get(part) or {}
    values = _one_for_all(library, before[0], after[0], width) if len(set(after)) == 1 else None
    lists = {name for name in library.sizes if name in there}
    if values is None:
        lists |= {"d_state_list"} if target == "states" else set(library.sizes)
    told = {
        (*library.lists, name): [size(one) for one in after] for name, size in library.sizes.items() if name in lists
    }
    return {_name(library.file): (values or {}) | told}


def inside(files: Mapping[str, Any]) -> Path:
    """Where the configuration of the language model lies in that of a model of several kinds of data."""
    return () if files[MAIN].get("model_type") in TYPES else ("text_config",)


def _stock(said: Settings, before: Widths, after: Widths, width: int) -> dict[Path, Any]:
    """The values of a configuration of transformers."""
    keys = TYPES[said.name]
    values: dict[Path, Any] = {
        (key,): new
        for key, old, new in (
            (keys.states, before.states, after.states),
            (keys.heads, before.heads, after.heads),
            (keys.groups, before.groups, after.groups),
            (keys.head_dim, before.head_dim, after.head_dim),
        )
        if old != new
    }
    if before.inner == after.inner:
        return values
    for name in keys.inner:
        whole = name.endswith("expand")
        if whole and after.inner % width:
            raise _inexpressible(said.name, before, after, width)
        values[(name,)] = after.inner // width if whole else after.inner
    return values


def _inexpressible(name: str, before: Widths, after: Widths, width: int) -> UsageError:
    """The error for channels that are no multiple of the model's width, and which numbers of units would be some."""
    target = "heads" if before.heads != after.heads else "channels"
    count = before.heads // before.unit_groups if target == "heads" else before.head_dim
    fits = [n for n in range(1, count) if before.keeping(target, n).inner % width == 0]
    ratios = ", ".join(f"⟦ratio {round(1 - n / count, 4):g}⟧ ({n} of {count})" for n in fits)
    sizes = f"{after.heads} heads of {after.head_dim} channels are {after.inner}, no multiple of the width {width}"
    return UsageError(
        f"{sizes}, and the configuration of {name} can say no others",
        f"it can of as many {_each(target, before)} as with {ratios}" if fits else "no smaller number is one",
    )


def _each(target: str, before: Widths) -> str:
    return f"{target} a group" if target == "heads" and before.unit_groups > 1 else target


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
    if library.inner:
        return values | {library.inner: after.inner, (*library.core, "expand"): expand}
    return values | {(*library.core, "expand"): expand} if isinstance(expand, int) else None


def _name(file: str) -> str:
    return file.removeprefix(_FILE)
