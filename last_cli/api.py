"""The Python API: the same words as the commands."""

from __future__ import annotations

from pathlib import Path

from last_cli import formats
from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint, load
from last_cli.checkpoint.convert import export_weights, import_weights
from last_cli.checkpoint.diff import diff
from last_cli.checkpoint.inspect import inspect
from last_cli.evaluation.bench import bench
from last_cli.evaluation.evaluate import build_model, evaluate
from last_cli.pruning.budget import prune
from last_cli.pruning.score import score
from last_cli.pruning.sweep import sweep
from last_cli.pruning.verify import verify

__all__ = [
    "Checkpoint",
    "bench",
    "build_model",
    "diff",
    "evaluate",
    "export_weights",
    "import_weights",
    "inspect",
    "load",
    "prune",
    "save",
    "score",
    "sweep",
    "verify",
]


def save(pruned: Checkpoint, path: str | Path, *, force: bool = False) -> Path:
    """Write what `prune` made, with its stamp, as a checkpoint that appears whole or not at all.

    Raises:
        OutputError: the output exists (unless `force`), is the input, or cannot be written; nothing is left behind.
        UsageError: nothing was pruned.
    """
    if pruned.report is None:
        raise UsageError(f"{pruned.source.path} is as it was: there is nothing to save", "prune it first")
    out = Path(path)
    formats.save(
        out, source=pruned.index, changed=pruned.changed, stamp=dict(pruned.stamp), force=force, also=pruned.also
    )
    return out
