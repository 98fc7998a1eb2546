"""`last export`."""

from pathlib import Path
from typing import Annotated

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import Ckpt, General, output_option
from last_cli.cli.shared import tell, tell_all


@command("last export pruned/ -o pruned.safetensors", "last export pruned/ -o pruned.pt")
def export(
    ckpt: Ckpt,
    output: Annotated[
        Path, output_option("--output", "-o", help="A .safetensors, .pt or .msgpack file.", show_default=False)
    ],
    *,
    force: Annotated[bool, output_option("--force", "-f", help="Replace the file.", show_default="no")] = False,
    general: General,
) -> None:
    """Write a checkpoint's weights back under the names of the file that they were imported from."""
    from last_cli.display.convert import show_keys

    result = last.export_weights(ckpt, output, force=force)
    show_keys(result, general.form)
    tell_all(result.warnings, "warning")
    tell(f"wrote {output}", general.quiet, "ok")
