"""`last demo`: the three commands on a bundled checkpoint."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from last_cli.base.errors import CheckpointError

SAMPLE = "s5-listops"


def run(ratio: float, quiet: bool, command: Callable[[Sequence[str]], int]) -> int:
    """Score, prune and evaluate a copy of the sample in a temporary directory, showing each command; the exit code.

    Raises:
        CheckpointError: the sample is not where the package or its source tree keeps it.
    """
    steps = (
        ["score", SAMPLE, "--ratio", f"{ratio:g}"],
        ["prune", SAMPLE, "--ratio", f"{ratio:g}"],
        ["eval", "pruned", "--task", "listops", "--baseline", SAMPLE],
    )
    sample = bundled(SAMPLE)
    with tempfile.TemporaryDirectory(prefix="last-demo-") as place, contextlib.chdir(place):
        shutil.copytree(sample, SAMPLE)
        for arguments in steps:
            sys.stdout.write(f"\n$ last {' '.join(arguments)}\n")
            sys.stdout.flush()
            if code := command([*arguments, *(["--quiet"] if quiet else [])]):
                return code
    return 0


def bundled(name: str) -> Path:
    """Where a sample checkpoint is: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parent
    for place in (package / "samples" / name, package.parent / "sample_checkpoints" / name):
        if place.is_dir():
            return place
    raise CheckpointError(
        f"the bundled checkpoint {name} is not in {package / 'samples'}", "install last-cli again, or clone its source"
    )
