"""`last verify`."""

from pathlib import Path
from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import General, gate_option
from last_cli.cli.shared import load, tell


@command("last verify pruned/ --against ckpt/", "last verify pruned/ --against ckpt/ --format md >> summary.md")
def verify(
    pruned: Annotated[Path, typer.Argument(metavar="PRUNED", help="What `last prune` wrote.", show_default=False)],
    against: Annotated[
        Path, gate_option(metavar="CKPT", help="The checkpoint that it was made from.", show_default=False)
    ],
    general: General,
) -> None:
    """Check a pruned checkpoint against its source; exit 1 if anything is not as its stamp says."""
    from last_cli.display.compare import show_verify

    result = last.verify(load(pruned, general.quiet), load(against, general.quiet))
    show_verify(result, general.form)
    tell("PASS" if result.passed else "FAIL", general.quiet, "ok" if result.passed else "error")
    raise typer.Exit(0 if result.passed else 1)
