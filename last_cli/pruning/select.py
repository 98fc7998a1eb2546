"""Scores and a ratio -> which units to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from last_cli.base.annotations import Bool, Float, Int
from last_cli.base.errors import UsageError
from last_cli.families.layer import Layer
from last_cli.families.target import Target

Scope = Literal["global", "layer"]
Shape = Literal["rectangular", "ragged"]
Ties = Literal["stay", "go"] | None
# One axis name for each would tie the sizes of all layers together.
Scores = Float[np.ndarray, "_ _"]
Mask = Bool[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Rule:
    """How scores decide: within which scope, how many stay at least, and in which shape; see recipe.Recipe.

    Attributes:
        even: every group of a layer keeps as many units.
        multiple: of which the number that a group keeps is rounded up to a multiple then; None is `usual`, where there
            are twice as many units.

    `ties`: see select; a rectangular choice has none.
    """

    scope: Scope | None = "global"
    min_states: int = 1
    shape: Shape = "ragged"
    ties: Ties = None
    even: bool = False
    multiple: int | None = None
    usual: int = 1


def choose(scores: Sequence[Scores], live: Sequence[Mask], ratio: float, rule: Rule) -> list[Mask]:
    """Keep masks, one a layer, after removing `ratio` of all live units in the shape that the rule asks for.

    Raises:
        UsageError: a ratio outside [0, 1).
    """
    check_ratio(ratio)
    if rule.even:
        return equal_counts(scores, live, ratio, rule)
    if rule.shape == "rectangular" and any(len(mask) > 1 for mask in live):
        return rectangular(scores, live, ratio, scope=rule.scope, min_states=rule.min_states)
    return select(scores, live, ratio, scope=rule.scope, min_states=rule.min_states, ties=rule.ties)


def check_ratio(ratio: float) -> None:
    """Raises UsageError unless the ratio is one that can be removed."""
    if not 0 <= ratio < 1:
        percent = f"for {ratio:g} % write ⟦ratio {ratio / 100:g}⟧"
        raise UsageError(
            f"⟨ratio⟩ is {ratio:g}, expected a number from 0 up to, but not including, 1",
            percent if 1 < ratio < 100 else "0.33 removes a third of all states",
        )


def select(
    scores: Sequence[Scores],
    live: Sequence[Mask],
    ratio: float,
    *,
    scope: Scope | None = "global",
    min_states: int = 1,
    ties: Ties = None,
) -> list[Mask]:
    """Keep masks, one a layer, after removing `ratio` of all live states: those with the lowest scores.

    Exactly floor(live * (1 - ratio)) states stay, or more where every layer must keep `min_states`. Among equal scores
    the earlier layer and the lower index stay, so a larger ratio keeps a subset of what a smaller one keeps. With
    `ties`, a score decides alone: everything that scores at least as much as the last kept state stays too, as in the
    released LAST code, or that state itself goes and all that score no more, as in that of SSM-FLAP.

    Args:
        scores: each layer's, (G, N); higher matters more.
        live: False for padding, which is never kept and never counted.
        ratio: share of all live units that goes.
        scope: "global" ranks all layers together, "layer" removes the ratio in each.
        min_states: units that every layer keeps at least.
        ties: see above.
    """
    if scope == "layer":
        return [select([s], [m], ratio, min_states=min_states, ties=ties)[0] for s, m in zip(scores, live, strict=True)]
    flat = np.concatenate([np.where(m, s, -np.inf).ravel() for s, m in zip(scores, live, strict=True)])
    sizes = [m.size for m in live]
    count = kept_count(sum(int(m.sum()) for m in live), ratio)
    order = np.argsort(-flat, kind="stable")
    keep = np.zeros(flat.size, bool)
    if ties:
        last = flat[order[max(count, 1) - 1]]
        keep = flat >= last if ties == "stay" else flat > last
    for start, mask in zip(np.cumsum([0, *sizes]), live, strict=False):
        best = order[(order >= start) & (order < start + mask.size)]
        keep[best[: min(min_states, int(mask.sum()))]] = True
    if not ties:
        rest = order[~keep[order]]
        keep[rest[: max(count - int(keep.sum()), 0)]] = True
    parts = np.split(keep, np.cumsum(sizes)[:-1])
    return [part.reshape(mask.shape) & mask for part, mask in zip(parts, live, strict=True)]


def kept_count(states: int, ratio: float) -> int:
    """How many of `states` stay, floored as in the released code; safe against 1 - 0.33 = 0.66999..."""
    return math.floor(states * (100 - 100 * ratio) / 100 + 1e-9)


def rectangular(
    scores: Sequence[Scores],
    live: Sequence[Mask],
    ratio: float,
    *,
    scope: Scope | None = "global",
    min_states: int = 1,
) -> list[Mask]:
    """Keep masks, one a layer, in which every group of a layer keeps as many units: its own best.

    What stays or goes is a column: of every group of a layer the n-th best unit. Of G groups it scores what the n G-th
    best unit of the layer does, so that layers keep about as many units as `select` leaves them, and all columns are
    ranked as `select` ranks units. The first one scores what the best unit does: LAST, of which that is 1, empties no
    layer. The count is that of the most whole columns, of equal layers the largest multiple of their groups, not above
    the one that `select` keeps exactly, or more where layers must keep `min_states`; a larger ratio keeps a subset; and
    with one group a layer the choice is that of `select`.

    Of the scores tried for a column this one loses least on `s4d-listops`, mean of last, aire, hinf and gn at 50, 60
    and 70 % on 1,000 validation sequences: 7.2 points (ragged 5.7), against 7.3 with the geometric mean over the
    groups, 7.5 with their mean or median, 7.8 with as many columns in each layer, 8.2 and 8.5 with their least and
    largest. With gn, whose scores differ most between channels, the mean loses 1 to 2 points more.

    Args:
        scores: see `select`, as all others.
        live: a group with padding keeps fewer once it has no more.
        ratio: of all live units.
        scope: "layer" does it in each layer alone.
        min_states: rounded up to whole columns.
    """
    if scope == "layer":
        pairs = zip(scores, live, strict=True)
        return [rectangular([s], [m], ratio, min_states=min_states)[0] for s, m in pairs]
    sizes = [(mask.sum(axis=1)[:, None] > np.arange(mask.shape[1])).sum(axis=0) for mask in live]
    forced = np.concatenate([np.cumsum(n) - n < min(min_states, n.sum()) for n in sizes])
    worth = np.concatenate([_worths(s, m, n) for s, m, n in zip(scores, live, sizes, strict=True)])
    size, keep = np.concatenate(sizes), forced.copy()
    order = np.argsort(-worth, kind="stable")
    order = order[~forced[order]]
    room = kept_count(int(size.sum()), ratio) - int(size[forced].sum())
    keep[order[np.cumsum(size[order]) <= room]] = True
    counts = [int(part.sum()) for part in np.split(keep, np.cumsum([len(n) for n in sizes])[:-1])]
    return [_best_of_each(s, m, c) for s, m, c in zip(scores, live, counts, strict=True)]


def _worths(scores: Scores, live: Mask, sizes: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Of each column: of all units of the layer the score of the last one that it and those before it have room for."""
    if not live.any():
        return np.zeros(len(sizes))
    return -np.sort(-scores[live])[np.r_[0, np.cumsum(sizes)[1:] - 1]]


def _evened(scores: Sequence[Scores], live: Sequence[Mask], keep: Sequence[Mask]) -> list[Mask]:
    """As many units in every group of a layer as a ranking of all of them has left there, each keeping its own best.

    A layer's number is its kept units over its groups, rounded down; what rounding leaves over goes, one unit for each
    group of a layer, to the layers that lost most by it, never above the total of `keep`. At least one stays wherever
    `keep` has any.
    """
    wanted = [mask.sum() / len(mask) for mask in keep]
    counts = [max(int(w), int(w > 0)) for w in wanted]
    spare = sum(int(mask.sum()) for mask in keep) - sum(c * len(m) for c, m in zip(counts, keep, strict=True))
    for i in sorted(range(len(keep)), key=lambda i: counts[i] - wanted[i]):
        if wanted[i] > counts[i] and spare >= len(keep[i]):
            counts[i] += 1
            spare -= len(keep[i])
    return [_best_of_each(s, m, c) for s, m, c in zip(scores, live, counts, strict=True)]


def equal_counts(scores: Sequence[Scores], live: Sequence[Mask], ratio: float, rule: Rule) -> list[Mask]:
    """As many units in every group of a layer, each group keeping its own best, rounded up to the rule's multiple.

    With the scope "layer" these are floor(N (1 - ratio)) of the N units of a group, in every layer alike; with "global"
    layers keep as many as the ranking of all of them leaves there.
    """
    widths = [int(m.sum(axis=1).max(initial=0)) for m in live]
    if rule.scope == "layer":
        wanted = [kept_count(width, ratio) for width in widths]
    else:
        masks = _evened(scores, live, select(scores, live, ratio, min_states=rule.min_states, ties=rule.ties))
        wanted = [int(m.sum(axis=1).max(initial=0)) for m in masks]
    counts = [_rounded(max(w, rule.min_states), width, rule) for w, width in zip(wanted, widths, strict=True)]
    return [_best_of_each(s, m, c) for s, m, c in zip(scores, live, counts, strict=True)]


def removing(target: Target, layers: Sequence[Layer]) -> float:
    """A ratio that removes units of layers where nothing else is asked for: a third, or more where that is rounded."""
    rule = Rule(even=target.even, usual=target.multiple)
    widths = {layer.units[target.name].count for layer in layers if target.name in layer.units}

    def removes(ratio: float) -> bool:
        return not rule.even or any(_rounded(max(kept_count(n, ratio), 1), n, rule) < n for n in widths)

    return next((ratio for ratio in (0.33, 0.5) if removes(ratio)), 0.75)


def _rounded(count: int, width: int, rule: Rule) -> int:
    multiple = rule.multiple or (rule.usual if width >= 2 * rule.usual else 1)
    return min(-(-count // multiple) * multiple, width)


def shape_of(masks: Sequence[Mask]) -> Shape:
    """The shape that a choice has."""
    even = all((mask.sum(axis=1) == mask[0].sum()).all() for mask in masks)
    return "rectangular" if even else "ragged"


def stored(keep: Mask) -> int:
    """States that each system is stored with: those of the one that keeps most, and one where none keeps any.

    No version of Orbax writes arrays of size zero.
    """
    return max(1, int(keep.sum(axis=1).max()))


def indices(keep: Mask, least: int = 1) -> Int[np.ndarray, "G K"]:
    """Kept states of each system in their old order, padded with -1 to the width that is stored, or more."""
    width = max(stored(keep), least)
    order = np.argsort(~keep, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(keep, order, axis=1), order, -1)


def _best_of_each(scores: Scores, live: Mask, count: int) -> Mask:
    order = np.argsort(np.where(live, -scores, np.inf), axis=1, kind="stable")[:, :count]
    mask = np.zeros(live.shape, bool)
    np.put_along_axis(mask, order, True, axis=1)
    return mask & live
