"""`last`: score, prune and evaluate trained diagonal state space models.

import last_cli as last
ck = last.load("ckpt")
report = last.score(ck)
small = last.prune(ck, ratio=0.33)
last.save(small, "pruned")
model, variables = last.build_model(small)
last.evaluate(small, "listops")
"""

from __future__ import annotations

from last_cli.base.signals import early  # isort: skip

early()  # Before the other imports: the program may be interrupted from now on.

from typing import TYPE_CHECKING, Any  # noqa: E402

from last_cli.base.errors import (  # noqa: E402
    AnswerIsNo,
    CheckpointError,
    DataError,
    LastError,
    OutputError,
    UnstableStateError,
    UsageError,
)
from last_cli.base.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from last_cli.api.evaluate import bench, compare, evaluate, sweep
    from last_cli.api.open import config, load
    from last_cli.api.prune import prune, score
    from last_cli.api.tune import tune
    from last_cli.checkpoint.checkpoint import Checkpoint
    from last_cli.checkpoint.convert.export import export_weights
    from last_cli.checkpoint.convert.import_ import import_weights
    from last_cli.checkpoint.diff import diff
    from last_cli.checkpoint.inspect import inspect
    from last_cli.checkpoint.network import build_model
    from last_cli.checkpoint.save import save
    from last_cli.pruning.verify import verify

__all__ = [
    "AnswerIsNo", "Checkpoint", "CheckpointError", "DataError", "LastError", "OutputError", "UnstableStateError",
    "UsageError", "__version__", "bench", "build_model", "compare", "config", "diff", "evaluate", "export_weights",
    "import_weights", "inspect", "load", "prune", "save", "score", "sweep", "tune", "verify",
]  # fmt: skip

# Where each function stands; its module is imported when it is first asked for.
_HOMES = {
    "Checkpoint": "last_cli.checkpoint.checkpoint",
    "bench": "last_cli.api.evaluate",
    "build_model": "last_cli.checkpoint.network",
    "compare": "last_cli.api.evaluate",
    "config": "last_cli.api.open",
    "diff": "last_cli.checkpoint.diff",
    "evaluate": "last_cli.api.evaluate",
    "export_weights": "last_cli.checkpoint.convert.export",
    "import_weights": "last_cli.checkpoint.convert.import_",
    "inspect": "last_cli.checkpoint.inspect",
    "load": "last_cli.api.open",
    "prune": "last_cli.api.prune",
    "save": "last_cli.checkpoint.save",
    "score": "last_cli.api.prune",
    "sweep": "last_cli.api.evaluate",
    "tune": "last_cli.api.tune",
    "verify": "last_cli.pruning.verify",
}


def __getattr__(name: str) -> Any:
    """Imported when first used."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'last_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
