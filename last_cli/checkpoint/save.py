"""A pruned checkpoint on its way to disk."""

from __future__ import annotations

from pathlib import Path

import last_cli.formats as formats
from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.formats.format import Resized


def save(pruned: Checkpoint, path: str | Path, *, force: bool = False) -> Path:
    """Write what `prune` or `with_variables` made, with its stamp, as a checkpoint that appears whole or not at all.

    Args:
        pruned: what `prune` gave, or what came of it.
        path: where it goes.
        force: replace a checkpoint that is there already.

    Returns:
        The path.

    Raises:
        OutputError: the output exists (unless `force`), is the input, or cannot be written; nothing is left behind.
        UsageError: nothing was changed.
    """
    if not isinstance(pruned, Checkpoint):
        raise UsageError(
            f"⟨pruned⟩ is {str(pruned)!r}, expected what `prune` gave",
            "for example last.save(small, path), in this order",
        )
    if pruned.stamp.get("pruned") == (pruned.index.stamp or {}).get("pruned"):
        raise UsageError(f"nothing to save: {pruned.source.path} has not been modified", "prune it first")
    out = Path(path)
    shapes, loader = {key: leaf.shape for key, leaf in pruned.leaves.items()}, pruned.loader
    before, names = pruned.index.leaves, pruned.renamed
    there = {names.get(key, key) for key in before}
    added = {key: leaf.dtype for key, leaf in pruned.leaves.items() if key not in there}
    dtypes = {k: leaf.dtype for k, leaf in pruned.leaves.items() if k in before and before[k].dtype != leaf.dtype}
    formats.save(
        out,
        source=pruned.index,
        changed=pruned.changed,
        stamp=dict(pruned.stamp),
        force=force,
        also=pruned.also,
        resized=Resized(shapes, pruned.settings, loader.files if loader else {}, dtypes, names, added),
    )
    return out
