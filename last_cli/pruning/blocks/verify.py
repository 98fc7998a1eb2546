"""Is a model the one that it was made from, without the blocks that its stamp says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from last_cli.base.words import some
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.formats import Key
from last_cli.pruning.blocks.shorten import shortened, silenced
from last_cli.results.verify import Check


def blocks_checks(pruned: Checkpoint, against: Checkpoint, steps: Sequence[Mapping[str, Any]]) -> list[Check]:
    """The checks of prunings of blocks, one after the other, against what came before them.

    Args:
        pruned: what is checked.
        against: what it was made from.
        steps: its stamp's entries since then.
    """
    wanted, gone = against, 0
    for step in steps:
        kept = step["blocks"]["kept"]
        gone += step["blocks"]["before"] - len(kept)
        wanted = silenced(wanted, kept) if step.get("masked") else shortened(wanted, kept)
    drops = {path for step in steps for path in step.get("dropped", ())}
    keys = [key for key in wanted.leaves if "/".join(key) not in drops]
    other = ["/".join(key) for key in keys if not _equal(pruned, wanted, key)]
    more = ["/".join(key) for key in pruned.leaves if key not in wanted.leaves]
    files = [name for name in wanted.index.config if wanted.index.config[name] != pruned.index.config.get(name)]
    how = "written with zeros" if steps[-1].get("masked") else "gone"
    return [
        Check(f"{gone} blocks {how}", not more, f"{len(more)} arrays more: {some(more)}" if more else "no array more"),
        Check(
            "the other blocks bit-equal and in order",
            not other,
            f"{len(other)} of {len(keys)} arrays differ: {some(other)}" if other else f"{len(keys)} arrays",
        ),
        Check(
            "configuration as expected",
            not files,
            f"{some(files)} differ" if files else f"{len(wanted.index.config)} files",
        ),
    ]


def _equal(one: Checkpoint, other: Checkpoint, key: Key) -> bool:
    if key not in one.leaves:
        return False
    if other.leaves[key].kind not in ("array", "scalar"):
        return True
    a, b = (checkpoint.read([key])[key] for checkpoint in (one, other))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
