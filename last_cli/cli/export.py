"""`last export`."""

from pathlib import Path
from typing import Annotated, Literal

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import Ckpt, General, output_option
from last_cli.cli.shared import show, tell


@command(
    "last export pruned/ -o pruned.safetensors",
    "last export pruned/ -o pruned.pt",
    "last export mamba2-130m/ --to hf -o mamba2-130m-hf/",
)
def export(
    ckpt: Ckpt,
    output: Annotated[
        Path,
        output_option(
            "--output",
            "-o",
            help="Output: a .safetensors, .pt or .msgpack file; with --to, a directory.",
            show_default=False,
        ),
    ],
    *,
    to: Annotated[
        Literal["hf"] | None,
        output_option(help="Write a directory that transformers loads (hf).", show_default="a file of weights"),
    ] = None,
    force: Annotated[bool, output_option("--force", "-f", help="Overwrite the output.")] = False,
    general: General,
) -> None:
    """Write a checkpoint's weights under the names of the file they were imported from, or of transformers."""
    from last_cli.display.convert import convert_view

    result = last.export_weights(ckpt, output, to=to, force=force)
    show(convert_view(result), general, result.warnings)
    tell(f"wrote {output}", general.quiet, "ok")
