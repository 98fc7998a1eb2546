"""`last bench`."""

from pathlib import Path
from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import Device, Model, Precision, Reported, how_option, output_option
from last_cli.cli.shared import check_plot, show, tell


@command("last bench ckpt/ pruned/", "last bench ckpt/ pruned/ --length 2048 --plot speed.svg")
def bench(
    ckpts: Annotated[
        list[Path],
        typer.Argument(metavar="CKPT", help="Paths of checkpoints; the first is the baseline.", show_default=False),
    ],
    *,
    length: Annotated[
        int | None,
        how_option(min=1, help="Length of the random sequences.", show_default="as the first checkpoint was trained"),
    ] = None,
    batch: Annotated[int, how_option(min=1, help="Sequences per batch, spread over all devices.")] = 32,
    repeat: Annotated[int, how_option(min=1, help="Number of timed batches.")] = 20,
    device: Device = None,
    precision: Precision = "float32",
    plot: Annotated[
        Path | None, output_option(help="Draw latencies and memory into this .svg, .png or .pdf file.")
    ] = None,
    model: Model,
    general: Reported,
) -> None:
    """Measure latency, throughput and peak memory on random inputs, one process per checkpoint."""
    from last_cli.display.bench import bench_view
    from last_cli.display.terminal import progress_bar

    if plot is not None:
        check_plot(plot)
    with progress_bar(general.quiet) as progress:
        opened = [last.load(path, **vars(model)) for path in ckpts]
        result = last.bench(
            *opened, length=length, batch=batch, repeat=repeat, device=device, precision=precision, progress=progress
        )
    show(bench_view(result), general, result.warnings)
    if plot is not None:
        from last_cli.display.figures.bench import draw_bench

        draw_bench(result, plot)
        tell(f"wrote {plot}", general.quiet)
