"""The program itself: its name, its root options."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from last_cli.base.version import __version__

app = typer.Typer(
    name="last",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Score, prune and evaluate trained S5 and S4D checkpoints.",
    epilog="Example:  last score ckpt/\n\nExample:  last prune ckpt/ --ratio 0.33\n\n"
    "Example:  last eval pruned/ --task listops --baseline ckpt/",
)


def _version(shown: bool) -> bool:
    if shown:
        sys.stdout.write(f"last {__version__}\n")
        raise typer.Exit
    return shown


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.", show_default="no")
    ] = False,
) -> None:
    """Score, prune and evaluate trained S5 and S4D checkpoints."""
