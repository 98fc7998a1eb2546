"""`last import` and `last export`."""

from pathlib import Path
from typing import Annotated

import typer

from last_cli.cli.app import app
from last_cli.cli.options import Ckpt, Force, FormatOption, Quiet, Verbose
from last_cli.cli.shared import tell, tell_all, tell_assumed


@app.command(
    "import",
    epilog="Example:  last import model.safetensors -o ckpt\n\nExample:  last import best.pt -o ckpt --format json",
)
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A .safetensors, .pt or msgpack file.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the checkpoint goes.", show_default=False)],
    real_transform: Annotated[str, typer.Option(help="The full S4 code's transform of A_real.")] = "exp",
    dt_transform: Annotated[str, typer.Option(help="The full S4 code's transform of log_dt.")] = "exp",
    force: Force = False,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make an Orbax checkpoint of PyTorch weights: state-spaces S4D and S4, s5-pytorch."""
    from last_cli.checkpoint.convert import import_weights
    from last_cli.display.convert import show_keys

    result = import_weights(source, output, force=force, real_transform=real_transform, dt_transform=dt_transform)
    tell_assumed(result.assumed, quiet)
    show_keys(result, form)
    tell_all(result.warnings, "warning")
    tell(f"wrote {output}", quiet, "ok")
    tell(f"last score {output}", quiet, "next")


@app.command(epilog="Example:  last export pruned/ -o pruned.safetensors\n\nExample:  last export pruned/ -o pruned.pt")
def export(
    ckpt: Ckpt,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .safetensors, .pt or .msgpack file.", show_default=False)
    ],
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file.", show_default="no")] = False,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a checkpoint's weights back under the names of the file that they were imported from."""
    from last_cli.checkpoint.convert import export_weights
    from last_cli.display.convert import show_keys

    result = export_weights(ckpt, output, force=force)
    show_keys(result, form)
    tell_all(result.warnings, "warning")
    tell(f"wrote {output}", quiet, "ok")
