"""`last sweep`."""

from pathlib import Path
from typing import Annotated

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import (
    Ckpt,
    Data,
    General,
    Model,
    Place,
    Selection,
    Step,
    calibration_option,
    evaluate_option,
    output_option,
    remove_option,
)
from last_cli.cli.shared import check_plot, load, tell, tell_all, tell_assumed


def _names(said: str | None) -> list[str] | None:
    """Those between commas."""
    return None if said is None else [name.strip() for name in said.split(",") if name.strip()]


@command(
    "last sweep ckpt/ --task listops --split val --ratios 0.3:0.8:0.05",
    "last sweep ckpt/ --task listops --criteria aire,aire+refit",
    "last sweep ckpt/ --task listops --out sweep/ --plot figure.pdf",
)
def sweep(
    ckpt: Ckpt,
    *,
    ratios: Annotated[str, remove_option(help="START:STOP:STEP, both ends included, or 0.1,0.33,0.5.")] = "0:0.9:0.1",
    target: Annotated[
        str | None,
        remove_option(
            metavar="NAMES",
            help="What goes, separated by commas: states,heads,weights.",
            show_default="states",
        ),
    ] = None,
    criteria: Annotated[
        str | None,
        remove_option(
            "--criteria",
            "--criterion",
            help="Criteria, methods, or NAME+refit, separated by commas.",
            show_default="last, aire, reconstruct, random; language models: last, magnitude, random",
        ),
    ] = None,
    seeds: Annotated[int, remove_option(help="Seeds of what is random, from 0.")] = 3,
    selection: Selection,
    data: Data,
    split: Annotated[
        str | None,
        evaluate_option(
            help="test, val or train; choose a ratio on val alone.", show_default="val, if the task has one"
        ),
    ] = None,
    place: Place,
    calibration: Annotated[
        int | None,
        calibration_option(help="Sequences of the task, without labels.", show_default="made without data"),
    ] = None,
    calibration_file: Annotated[
        Path | None,
        calibration_option(metavar="FILE", help="Or a file: FILE.npz of x, lengths, or a text.", show_default="none"),
    ] = None,
    out: Annotated[
        Path | None,
        output_option(help="Keep points, tables and figures here; a killed sweep goes on.", show_default="no"),
    ] = None,
    plot: Annotated[Path | None, output_option(help="Draw the figure: .svg, .png or .pdf.", show_default="no")] = None,
    model: Model,
    step: Step,
    general: General,
) -> None:
    """Accuracy or perplexity against ratio for several ways to prune, with error bars, as a table and a figure."""
    from last_cli.display.figures.figure import available
    from last_cli.display.figures.sweep import draw_sweep
    from last_cli.display.sweep import show_sweep, sweep_lines, write_files
    from last_cli.display.terminal import progress_bar

    quiet = general.quiet
    if plot is not None:
        check_plot(plot)
    checkpoint = load(ckpt, quiet, **vars(step), **vars(model))
    with progress_bar(quiet) as progress:
        result = last.sweep(
            checkpoint,
            **vars(data),
            **vars(place),
            **vars(selection),
            ratios=ratios,
            target=_names(target),
            criteria=_names(criteria),
            seeds=seeds,
            calibration=calibration,
            calibration_file=calibration_file,
            split=split,
            out=out,
            progress=progress,
        )
    tell_assumed(result.assumed, quiet)
    show_sweep(result, general.form)
    tell_all(result.doubts, "warning")
    for line in [*sweep_lines(result), *result.notes]:
        tell(line, quiet)
    for path in write_files(result, out) if out is not None else []:
        tell(f"wrote {path}", quiet)
    if out is not None and not available():
        tell("pip install 'last-cli[plot]' brings matplotlib for the figures", quiet, "hint")
    if plot is not None:
        draw_sweep(result, plot)
        tell(f"wrote {plot}", quiet)
