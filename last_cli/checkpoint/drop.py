"""A checkpoint without what code makes anew: caches, the state of an optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import last_cli.formats as formats
from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.families.variables import Collections
from last_cli.formats import Key


def without(checkpoint: Checkpoint | str | Path, globs: Sequence[str] | str | None) -> Checkpoint:
    """The checkpoint, open or at a path, without what some globs name.

    That is leaves, by the path to them or to what they are in, or by a part of it, and other items of the step.

    Raises:
        UsageError: a glob names nothing, or a parameter or statistic of the model.
    """
    checkpoint = opened(checkpoint)
    if not globs:
        return checkpoint
    globs = [globs] if isinstance(globs, str) else globs
    location = checkpoint.index.location
    others = set(location.items) - {location.item}
    keys: set[Key] = set()
    items: set[str] = set()
    for glob in globs:
        named = {key for key in checkpoint.leaves if _names(glob, key)}
        named_items = {item for item in others if fnmatchcase(item, glob)}
        if not named and not named_items:
            there = dict.fromkeys([*(key[0] for key in checkpoint.leaves if key), *sorted(others)])
            raise UsageError(f"⟦drop {glob}⟧ names nothing in {location.path}", f"there are {', '.join(there)}")
        _check(checkpoint, glob, named)
        keys, items = keys | named, items | named_items
    index = formats.without(checkpoint.index, keys, items)
    drops = (*checkpoint.drops, *_collapsed(keys, checkpoint.leaves), *sorted(items))
    return replace(checkpoint, index=index, leaves=index.leaves, drops=drops)


def is_dropped(key: Key, drops: Iterable[str]) -> bool:
    """Whether a leaf is below one of the paths that a stamp lists as dropped."""
    paths = {"/".join(key[:n]) for n in range(1, len(key) + 1)}
    return not paths.isdisjoint(drops)


def _names(glob: str, key: Key) -> bool:
    return any(fnmatchcase(name, glob) for name in (*key, *("/".join(key[:n]) for n in range(2, len(key) + 1))))


def _check(checkpoint: Checkpoint, glob: str, keys: set[Key]) -> None:
    own = {key for layer in checkpoint.layers for key in layer.leaves.values()}
    for collections in Collections.all_of(checkpoint.layers):
        if collections.params:
            own |= {key for key in keys if collections.holds(key)}
    if lost := sorted(own & keys):
        raise UsageError(
            f"⟦drop {glob}⟧ would leave out {'/'.join(lost[0])}, which is a parameter or statistic of the model",
            "name what code makes anew, such as caches or the state of an optimizer",
        )


def _collapsed(keys: set[Key], tree: Iterable[Key]) -> list[str]:
    """The shortest paths below which everything is dropped."""
    whole = Counter(key[:n] for key in tree for n in range(len(key) + 1))
    gone = Counter(key[:n] for key in keys for n in range(len(key) + 1))
    ends = (next(key[:n] for n in range(1, len(key) + 1) if gone[key[:n]] == whole[key[:n]]) for key in sorted(keys))
    return ["/".join(path) for path in dict.fromkeys(ends)]
