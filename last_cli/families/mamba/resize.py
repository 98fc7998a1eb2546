"""What a pruning changes in the configuration of a Mamba-1 model: the keys of the sizes, else lists of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.mamba.dialect import Settings, settings
from last_cli.families.mamba2.modelling import is_ours, with_entries, without_entries
from last_cli.families.mamba2.stock import differing
from last_cli.families.resizing import Resizing, Shrinking

FILE = "config.json"

Values = dict[tuple[str, ...], Any]


@dataclass(frozen=True)
class Widths:
    """Sizes of one mixer, see mixer.Mixer."""

    heads: int
    channels: int
    states: int

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.channels


LISTS: dict[str, Callable[[Widths], int]] = {"d_state_list": lambda w: w.states, "d_inner_list": lambda w: w.inner}
"""For mamba_ssm, where layers differ: an entry for each layer, as Mamba-2 models have them."""


def resized(pruning: Shrinking) -> Resizing:
    """The new values of a configuration; see Family.resized.

    Raises:
        UsageError: neither the stock class nor our modelling file can load what it becomes.
    """
    said, units = settings(pruning.files), [layer.units for layer in pruning.layers]
    before = [Widths(own["channels"].groups, own["channels"].count, own["states"].count) for own in units]
    after = [replace(one, **{pruning.target: count}) for one, count in zip(before, pruning.counts, strict=True)]
    if said.name == "mamba_ssm":
        return Resizing({FILE: _in_mamba_ssm(pruning, said, before, after)})
    values, why = _in_stock(pruning, said, before, after)
    if not why:
        return Resizing({FILE: values})
    if pruning.stock:
        raise UsageError(*why)
    entries = [{"states": w.states, "heads": w.heads, "head_dim": w.channels, "eps": None} for w in after]
    return Resizing({FILE: with_entries(pruning.files, entries, why)})


def _in_stock(
    pruning: Shrinking, said: Settings, before: Sequence[Widths], after: Sequence[Widths]
) -> tuple[Values, tuple[str, str] | None]:
    """The keys of the sizes; or why they cannot say these, and what can be done."""
    target, counts, keys, new = pruning.target, pruning.counts, said.keys, after[0]
    if len(set(after)) > 1:
        filled = not pruning.layers[0].target(target).inexact
        return {}, (
            f"layers would {differing(counts, target)}, and {said.name} has one number for all",
            ("⟦stock⟧ fills layers up with zeros to the largest; " if filled else "")
            + "⟦scope layer⟧ keeps as many in every layer",
        )
    ours, width = is_ours(pruning.files), pruning.layers[0].sizes.features
    values: dict[str, Any] = {keys.states: new.states} if before[0].states != new.states or ours else {}
    if keys.heads and (before[0].heads != new.heads or ours):
        values[keys.heads] = new.heads
    if before[0].inner != new.inner or ours:
        if new.inner % width and not keys.inner:
            return {}, _inexpressible(said, target, new, width)
        values |= {keys.expand: new.inner // width} if new.inner % width == 0 else {}
        values |= {keys.inner: new.inner} if keys.inner else {}
    values_at: Values = {(*said.path, key): value for key, value in values.items()}
    return values_at | (without_entries() if ours else {}), None


def _inexpressible(said: Settings, target: str, new: Widths, width: int) -> tuple[str, str]:
    """What is said of channels that are no multiple of the model's width, and which rounding makes them one."""
    multiple = width // math.gcd(width, new.channels if target == "heads" else new.heads)
    return (
        f"layers would keep {new.inner} channels, and {said.name} has {said.keys.expand} times its width of {width}",
        f"⟦multiple_of {multiple}⟧ rounds {target} up to what it can say",
    )


def _in_mamba_ssm(pruning: Shrinking, said: Settings, before: Sequence[Widths], after: Sequence[Widths]) -> Values:
    """The keys of its sizes, where layers are alike, and lists where they differ or there are some."""
    there, new, width = pruning.files[f"file:{FILE}"], after[0], pruning.layers[0].sizes.features
    lists = {name for name in LISTS if name in there}
    values: Values = {}
    if len(set(after)) > 1:
        lists.add("d_state_list" if pruning.target == "states" else "d_inner_list")
    elif any(old.states != new.states for old in before):
        values[*said.path, said.keys.states] = new.states
    elif any(old.inner != new.inner for old in before):
        ratio = new.inner / width  # Of which mamba_ssm takes the whole part of its product with the width.
        exact = ratio if int(ratio * width) == new.inner else math.nextafter(ratio, math.inf)
        values[*said.path, said.keys.expand] = new.inner // width if new.inner % width == 0 else exact
    return values | {(name,): [LISTS[name](w) for w in after] for name in sorted(lists)}
