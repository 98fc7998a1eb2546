"""`last verify`."""

from pathlib import Path
from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.gates import annotate_failed
from last_cli.cli.options import Gated, gate_option
from last_cli.cli.shared import load, show, tell, tell_read


@command("last verify pruned/", "last verify pruned/ --against ckpt/", "last verify pruned/ --format md >> summary.md")
def verify(
    pruned: Annotated[
        Path, typer.Argument(metavar="PRUNED", help="Path of a checkpoint that `last` wrote.", show_default=False)
    ],
    general: Gated,
    against: Annotated[
        Path | None,
        gate_option(metavar="CKPT", help="Checkpoint that it was pruned from.", show_default="its own digests"),
    ] = None,
) -> None:
    """Check a checkpoint that `last` wrote against its digests, or its source; exit 1 if a check fails."""
    from last_cli.checkpoint import checkpoint as opening
    from last_cli.display.verify import verify_failure, verify_view

    # What has another digest is no error here but a check that fails.
    opened = tell_read(opening.load(pruned, checked=False), general.quiet)
    result = last.verify(opened, None if against is None else load(against, general.quiet))
    view = verify_view(result)
    show(view, general, result.warnings)
    annotate_failed(view.gates)
    if not result.passed:
        tell(verify_failure(result), False, "error")
        raise typer.Exit(1)
