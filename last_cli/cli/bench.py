"""`last bench`."""

from pathlib import Path
from typing import Annotated

import typer

from last_cli.cli.app import app
from last_cli.cli.options import FormatOption, Preset, Quiet, Verbose
from last_cli.cli.running import DeviceOption, Precision
from last_cli.cli.shared import check_plot, tell


@app.command(
    epilog="Example:  last bench ckpt/ pruned/\n\nExample:  last bench ckpt/ pruned/ --length 2048 --plot speed.svg"
)
def bench(
    ckpts: Annotated[
        list[Path],
        typer.Argument(metavar="CKPT...", help="Checkpoints, the first as baseline.", show_default=False),
    ],
    length: Annotated[
        int | None, typer.Option(min=1, help="Steps of the random sequences.", show_default="the first one's trained")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Sequences in a batch, spread over all devices.")] = 32,
    repeat: Annotated[int, typer.Option(min=1, help="Batches that are timed.")] = 20,
    device: DeviceOption = None,
    precision: Precision = "float32",
    preset: Preset = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw latencies and memory: .svg, .png or .pdf.", show_default="no")
    ] = None,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Latency, throughput and peak memory on random inputs, each checkpoint in a process of its own."""
    from last_cli.display.bench import bench_summary, show_bench
    from last_cli.display.terminal import progress_bar
    from last_cli.evaluation.bench import BenchRequest
    from last_cli.evaluation.bench import bench as run

    if plot is not None:
        check_plot(plot)
    with progress_bar(quiet) as progress:
        result = run(ckpts, BenchRequest(length, batch, repeat, device, precision, preset), progress)
    show_bench(result, form)
    tell(bench_summary(result), quiet)
    if plot is not None:
        from last_cli.display.figures.bench import draw_bench

        draw_bench(result, plot)
        tell(f"wrote {plot}", quiet)
