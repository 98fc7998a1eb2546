"""`last inspect`."""

from typing import Annotated

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import Ckpt, Reported, Step, output_option
from last_cli.cli.shared import show


@command("last inspect ckpt/", "last inspect ckpt/ --tree")
def inspect(
    ckpt: Ckpt,
    *,
    tree: Annotated[bool, output_option("--tree", help="List every leaf.")] = False,
    step: Step,
    general: Reported,
) -> None:
    """Show what a checkpoint contains, from its metadata alone."""
    from last_cli.display.inspect import inspect_view

    found = last.inspect(ckpt, **vars(step))
    show(inspect_view(found, tree), general, found.warnings)
