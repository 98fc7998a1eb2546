"""`last sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from last_cli.cli.app import app
from last_cli.cli.options import (
    Ckpt,
    ClipEigs,
    ConjSym,
    Discretize,
    FormatOption,
    Item,
    MinStates,
    Preset,
    Quiet,
    Rescale,
    ScopeOption,
    ShapeOption,
    Step,
    Verbose,
)
from last_cli.cli.running import BatchSize, DeviceOption, Limit, TaskData, TaskOption
from last_cli.cli.shared import check_plot, layer_options, load, tell, tell_assumed


@app.command(
    epilog="Example:  last sweep ckpt/ --task listops --split val --ratios 0.3:0.8:0.05\n\n"
    "Example:  last sweep ckpt/ --task listops --criteria aire,aire+refit\n\n"
    "Example:  last sweep ckpt/ --task listops --out sweep/ --plot figure.pdf"
)
def sweep(
    ckpt: Ckpt,
    task: TaskOption,
    ratios: Annotated[str, typer.Option(help="START:STOP:STEP, both ends included, or 0.1,0.33,0.5.")] = "0:0.9:0.1",
    criteria: Annotated[
        str,
        typer.Option(
            help="Criteria, methods, or NAME+refit, separated by commas.",
            show_default="last, aire, reconstruct, random",
        ),
    ] = "last,aire,reconstruct,random",
    seeds: Annotated[int, typer.Option(help="Seeds of what is random, from 0.")] = 3,
    calibration: Annotated[
        int | None, typer.Option(help="Sequences, without labels, to refit on.", show_default="made without data")
    ] = None,
    split: Annotated[str, typer.Option(help="test, val or train; choose a ratio on val alone.")] = "test",
    limit: Limit = None,
    data_dir: TaskData = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Keep points, tables and figures here; a killed sweep goes on.", show_default="no"),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the figure: .svg, .png or .pdf.", show_default="no")] = None,
    batch_size: BatchSize = None,
    device: DeviceOption = None,
    scope: ScopeOption = "global",
    min_states: MinStates = 1,
    shape: ShapeOption = "ragged",
    discretization: Discretize = None,
    clip_eigs: ClipEigs = None,
    conj_sym: ConjSym = None,
    step_rescale: Rescale = None,
    preset: Preset = None,
    step: Step = None,
    item: Item = None,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Accuracy against ratio for several ways to prune, with error bars, as a table and a figure."""
    from last_cli.api import sweep as run
    from last_cli.display.figures.figure import available
    from last_cli.display.figures.sweep import draw_sweep
    from last_cli.display.sweep import show_sweep, sweep_lines, write_files
    from last_cli.display.terminal import progress_bar

    if plot is not None:
        check_plot(plot)
    checkpoint = load(
        ckpt, step, item, preset, quiet, **layer_options(discretization, clip_eigs, conj_sym, step_rescale)
    )
    with progress_bar(quiet) as progress:
        result = run(
            checkpoint,
            task,
            ratios=ratios,
            criteria=[name.strip() for name in criteria.split(",") if name.strip()],
            seeds=seeds,
            calibration=calibration,
            split=split,
            limit=limit,
            data_dir=data_dir,
            batch_size=batch_size,
            device=device,
            scope=scope,
            min_states=min_states,
            shape=shape,
            out=out,
            progress=progress,
        )
    tell_assumed(result.assumed, quiet)
    show_sweep(result, form)
    for line in [*sweep_lines(result), *result.notes]:
        tell(line, quiet)
    for path in write_files(result, out) if out is not None else []:
        tell(f"wrote {path}", quiet)
    if out is not None and not available():
        tell("pip install 'last-cli[plot]' brings matplotlib for the figures", quiet, "hint")
    if plot is not None:
        draw_sweep(result, plot)
        tell(f"wrote {plot}", quiet)
