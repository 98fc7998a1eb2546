"""`last inspect`."""

from typing import Annotated

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import Ckpt, General, Step, output_option
from last_cli.cli.shared import tell_all


@command("last inspect ckpt/", "last inspect ckpt/ --tree")
def inspect(
    ckpt: Ckpt,
    *,
    tree: Annotated[bool, output_option("--tree", help="List every leaf.", show_default="no")] = False,
    step: Step,
    general: General,
) -> None:
    """What is in a checkpoint, from its metadata alone."""
    from last_cli.display.inspect import show_inspect

    found = last.inspect(ckpt, **vars(step))
    show_inspect(found, general.form, tree)
    tell_all(found.warnings, "warning")
