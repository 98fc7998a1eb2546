"""Which modules of a state dict are SSM layers, told by the names of their parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from last_cli.base import registry
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.convert.layout import Layout
from last_cli.checkpoint.convert.s4d import S4D_STATE_SPACES
from last_cli.checkpoint.convert.s5 import S5_PYTORCH
from last_cli.formats import Key

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (S4D_STATE_SPACES, S5_PYTORCH)}

HINT = (
    "`last import` knows S4D of state-spaces/s4 (minimal and diag mode), s5-pytorch, and the leaf names that "
    "`last list families` shows"
)

# Names that only the parameters of SSM layers have: a module with one of them is such a layer, or an error.
_MARKERS = {*S4D_STATE_SPACES.roles, *S5_PYTORCH.roles, "Lambda_re", "Lambda_im", "A_re", "A_im"} - {"B", "C", "D"}

_KNOWN = {
    "P": "the low-rank term of S4 (dplr, nplr), which is not diagonal",
    "BH": "B as a product of low rank (factor_rank)",
    "l_kernel": "a buffer of S4 (dplr), which is not diagonal",
}


@dataclass(frozen=True)
class Module:
    """An SSM layer in a state dict: its layout, the name of its module, and its parameters' names by role."""

    layout: Layout
    name: str
    names: Mapping[str, str]


def separator_of(names: Collection[str]) -> str:
    """What joins the parts of most names: a dot as in PyTorch, or a slash or comma as some save trees of JAX."""
    return next((mark for mark in (",", "/") if 2 * sum(mark in name for name in names) > len(names)), ".")


def find_modules(names: Iterable[str], separator: str = ".") -> list[Module]:
    """The SSM layers that have to be converted; those that already have our leaf names are none of them.

    Raises:
        CheckpointError: a module has some parameters of an SSM layer, but not those of one that we know.
    """
    names = set(names)
    modules: dict[str, set[str]] = {}
    for name in names:
        module, _, leaf = name.rpartition(separator)
        modules.setdefault(module, set()).add(leaf)
    families = [registry.get("families", family) for family in registry.names("families")]
    return [
        _module(module, leaves, names, separator)
        for module, leaves in sorted(modules.items())
        if leaves & _MARKERS and not any(family.matches(leaves) for family in families)
    ]


def to_key(name: str, rooted: bool, separator: str = ".") -> Key:
    """Where a tensor is carried along; `rooted` names begin with the collection (params, batch_stats) already."""
    return tuple(name.split(separator)) if rooted else ("params", *name.split(separator))


def node_of(module: Module, rooted: bool, separator: str = ".") -> Key:
    """The node of a layer; one that is the whole model gets a name."""
    return to_key(module.name, rooted, separator) if module.name else ("params", "ssm")


def _module(module: str, leaves: set[str], names: set[str], separator: str) -> Module:
    layout = S5_PYTORCH if "Lambda" in leaves else S4D_STATE_SPACES
    prefix = f"{module}{separator}" if module else ""
    if unknown := sorted(leaves - set(layout.roles)):
        name = unknown[0]
        what = f": {_KNOWN[name]}" if name in _KNOWN else ""
        others = f" (and {', '.join(unknown[1:])})" if unknown[1:] else ""
        raise CheckpointError(
            f"{prefix}{name}{others}: no parameter of a diagonal SSM layer that is known here{what}; beside it are "
            f"{', '.join(sorted(leaves - set(unknown)))}",
            HINT,
        )
    found: dict[str, str] = {}
    for leaf in sorted(leaves):
        role = layout.roles[leaf]
        if role in found:
            raise CheckpointError(f"{prefix}{leaf} means the same as {found[role]}, expected one of them", HINT)
        found[role] = prefix + leaf
    owner = module
    if layout is S4D_STATE_SPACES:  # D belongs to the layer, the rest to the kernel inside of it.
        while owner.split(separator)[-1] == "kernel":
            owner = owner.rpartition(separator)[0]
        found["D"] = f"{owner}{separator}D" if owner else "D"
    missing = [leaf for leaf, role in layout.roles.items() if role not in found and role not in layout.optional]
    if missing or found["D"] not in names:
        expected = " or ".join(missing) if missing else found["D"]
        raise CheckpointError(
            f"{module or 'the model'}: has {', '.join(sorted(leaves))} of an SSM layer, expected {expected} too", HINT
        )
    return Module(layout, owner, found)
