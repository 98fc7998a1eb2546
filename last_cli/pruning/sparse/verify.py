"""Does a checkpoint have the zeros that its stamp says, and nothing else that is new?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from last_cli.base.words import some
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.drop import is_dropped
from last_cli.formats import Key
from last_cli.pruning.sparse.pattern import Pattern, pattern_of
from last_cli.pruning.sparse.result import zeros_digest
from last_cli.results.verify import Check


def zeros_checks(pruned: Checkpoint, against: Checkpoint, steps: Sequence[Mapping[str, Any]]) -> list[Check]:
    """The checks of prunings of weights, one after the other, against what came before them.

    Args:
        pruned: what is checked.
        against: what it was made from.
        steps: its stamp's entries since then.
    """
    said = {entry["tensor"]: entry for step in steps for entry in step["weights"]}
    patterns = {e["tensor"]: pattern_of(p) for s in steps if (p := s.get("pattern")) for e in s["weights"]}
    refitted = any(step.get("changes") for step in steps)
    other, broken, changed = [], [], []
    keys = {tuple(name.split("/")): name for name in said}
    for key, name in keys.items():
        array, source = (one.read([key])[key] if key in one.leaves else None for one in (pruned, against))
        if array is None or source is None or array.shape != source.shape or array.dtype != source.dtype:
            other.append(name)
            continue
        zero = array == 0
        entry = said[name]
        if int(zero.sum()) != entry["zeros"] or zeros_digest(zero) != entry["digest"]:
            other.append(name)
        if name in patterns and not _keeps(zero, patterns[name]):
            broken.append(name)
        if array[~zero].tobytes() != source[~zero].tobytes():
            changed.append(name)
    checks = [Check("zeros where weights were removed", not other, _seen(other, len(keys)))]
    if patterns:
        named = " and ".join(sorted({f"{one.stay}:{one.of}" for one in patterns.values()}))
        checks.append(Check(f"pattern {named}", not broken, _seen(broken, len(patterns))))
    if refitted:
        checks.append(
            Check("kept weights new, as the method makes them", True, f"{len(changed)} of {len(keys)} arrays")
        )
    else:
        checks.append(Check("kept entries bit-equal", not changed, _seen(changed, len(keys))))
    return [*checks, _untouched(pruned, against, keys, steps), _files(pruned, against)]


def _keeps(zero: np.ndarray, pattern: Pattern) -> bool:
    """Whether as many are zero of every few in a row, at least."""
    if zero.shape[1] % pattern.of:
        return False
    return bool((zero.reshape(len(zero), -1, pattern.of).sum(axis=-1) >= pattern.of - pattern.stay).all())


def _untouched(
    pruned: Checkpoint, against: Checkpoint, keys: Mapping[Key, str], steps: Sequence[Mapping[str, Any]]
) -> Check:
    drops = [path for step in steps for path in step.get("dropped", ())]
    wanted = [k for k, leaf in against.leaves.items() if k not in keys and not is_dropped(k, drops)]
    arrays = [k for k in wanted if against.leaves[k].kind in ("array", "scalar")]
    wrong = [k for k in wanted if k not in pruned.leaves]
    wrong += [k for k in arrays if k in pruned.leaves and not _equal(against.read([k])[k], pruned.read([k])[k])]
    return Check("everything else untouched", not wrong, _seen(["/".join(key) for key in wrong], len(arrays)))


def _files(pruned: Checkpoint, against: Checkpoint) -> Check:
    wanted, found = against.index.config, pruned.index.config
    wrong = [name for name in wanted if wanted[name] != found.get(name)]
    return Check("configuration unchanged", not wrong, _seen(wrong, len(wanted), "files"))


def _seen(wrong: Sequence[str], count: int, what: str = "arrays") -> str:
    return f"{len(wrong)} of {count} {what} differ: {some(wrong)}" if wrong else f"{count} {what}"


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
