"""`last import`."""

from pathlib import Path
from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import Force, General, how_option, output_option
from last_cli.cli.shared import show, tell, tell_assumed


@command("last import model.safetensors -o ckpt", "last import best.pt -o ckpt --format json", name="import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Path of a .safetensors, .pt or msgpack file.", show_default=False)
    ],
    output: Annotated[
        Path, output_option("--output", "-o", help="Path of the checkpoint to write.", show_default=False)
    ],
    *,
    real_transform: Annotated[str, how_option(help="Transform of A_real in the full S4 code.")] = "exp",
    dt_transform: Annotated[str, how_option(help="Transform of log_dt in the full S4 code.")] = "exp",
    force: Force = False,
    general: General,
) -> None:
    """Make an Orbax checkpoint of PyTorch weights: state-spaces S4D and S4, s5-pytorch."""
    from last_cli.display.convert import convert_view

    result = last.import_weights(source, output, force=force, real_transform=real_transform, dt_transform=dt_transform)
    tell_assumed(result.assumed, general.quiet)
    show(convert_view(result), general, result.warnings)
    tell(f"wrote {output}", general.quiet, "ok")
    tell(f"last score {output}", general.quiet, "next")
