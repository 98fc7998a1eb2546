"""`last demo`: the three commands on a bundled checkpoint."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from last_cli.base.errors import CheckpointError
from last_cli.cli.app import command
from last_cli.cli.options import Quiet, Verbose, remove_option
from last_cli.cli.program import main

SAMPLE = "s5-listops"


@command("last demo", "last demo --ratio 0.5")
def demo(
    ratio: Annotated[float, remove_option(help="Share of all states to remove.")] = 0.33,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score, prune and evaluate a bundled checkpoint, in a temporary directory."""
    import contextlib
    import shutil
    import tempfile

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
            if code := main([*arguments, *(["--quiet"] if quiet else [])]):
                raise typer.Exit(code)


def bundled(name: str) -> Path:
    """Where a sample checkpoint is: inside the installed package, or beside it in a source tree.

    Raises:
        CheckpointError: it is in neither place.
    """
    package = Path(__file__).parents[1]
    for place in (package / "samples" / name, package.parent / "sample_checkpoints" / name):
        if place.is_dir():
            return place
    raise CheckpointError(
        f"the bundled checkpoint {name} is not in {package / 'samples'}", "install last-cli again, or clone its source"
    )
