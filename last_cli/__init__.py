"""`last`: score, prune and evaluate trained diagonal state space models.

import last_cli as last
ck = last.load("ckpt")
report = last.score(ck)
small = last.prune(ck, ratio=0.33)
last.save(small, "pruned")
model, variables = last.build_model(small)
last.evaluate(small, "listops")
"""

from typing import TYPE_CHECKING, Any

from last_cli.base.version import __version__

if TYPE_CHECKING:
    from last_cli.api import (
        Checkpoint,
        bench,
        build_model,
        diff,
        evaluate,
        export_weights,
        import_weights,
        inspect,
        load,
        prune,
        save,
        score,
        sweep,
        verify,
    )

__all__ = [
    "Checkpoint",
    "__version__",
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


def __getattr__(name: str) -> Any:
    """The API, imported when first used: the help pages need none of it."""
    if name in __all__:
        from last_cli import api

        return getattr(api, name)
    raise AttributeError(f"module 'last_cli' has no attribute '{name}'")
