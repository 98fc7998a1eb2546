"""`last demo`: the three commands on a bundled checkpoint."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from last_cli.base.errors import CheckpointError
from last_cli.cli.app import command
from last_cli.cli.options import Quiet, Verbose, remove_option
from last_cli.cli.program import main

SAMPLES = {"s5": "s5-listops", "mamba2": "mamba2-kjv"}


@command("last demo", "last demo --ratio 0.5", "last demo mamba2")
def demo(
    model: Annotated[
        Literal["s5", "mamba2"],
        typer.Argument(
            metavar="MODEL", help="Bundled model: s5, a classifier, or mamba2, a language model.", show_default="s5"
        ),
    ] = "s5",
    ratio: Annotated[float, remove_option(help="Share of all states to remove.")] = 0.33,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score, prune and evaluate a bundled checkpoint, in a temporary directory."""
    import contextlib
    import shutil
    import tempfile

    name = SAMPLES[model]
    sample = bundled(name)
    steps = (
        ["score", name, "--ratio", f"{ratio:g}"],
        ["prune", name, "--ratio", f"{ratio:g}"],
        ["eval", "pruned", "--task", "listops" if model == "s5" else _text(name), "--baseline", name],
    )
    with tempfile.TemporaryDirectory(prefix="last-demo-") as place, contextlib.chdir(place):
        shutil.copytree(sample, name)
        for arguments in steps:
            sys.stdout.write(f"\n$ last {' '.join(arguments)}\n")
            sys.stdout.flush()
            if code := main([*arguments, *(["--quiet"] if quiet else [])]):
                raise typer.Exit(code)


def _text(name: str) -> str:
    """The sample's test text, or its tokens where nothing reads a text."""
    from importlib.util import find_spec

    return f"{name}/test.{'txt' if find_spec('tokenizers') else 'npz'}"


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
        f"the bundled checkpoint {name} is not in {package / 'samples'}",
        "install last again from a clone of its repository",
    )
