"""`last sweep`."""

from pathlib import Path
from typing import Annotated

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.completion import recipes, several_targets, splits
from last_cli.cli.options import (
    Ckpt,
    Data,
    Model,
    Place,
    Reported,
    Selection,
    Step,
    calibration_option,
    evaluate_option,
    output_option,
    remove_option,
)
from last_cli.cli.shared import check_plot, load, show, tell, tell_assumed


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
    ratios: Annotated[
        str, remove_option(help="Ratios to try: START:STOP:STEP, both ends included, or 0.1,0.33,0.5.")
    ] = "0:0.9:0.1",
    target: Annotated[
        str | None,
        remove_option(
            metavar="NAMES",
            help="Kinds of units to remove, separated by commas: states,heads,weights.",
            show_default="states",
            autocompletion=several_targets,
        ),
    ] = None,
    criteria: Annotated[
        str | None,
        remove_option(
            "--criteria",
            "--criterion",
            help="Criteria, methods or NAME+refit to compare, separated by commas.",
            autocompletion=recipes,
            show_default="last, aire, reconstruct, random; language models: last, magnitude, random",
        ),
    ] = None,
    seeds: Annotated[int, remove_option(help="Number of seeds for recipes that are random.")] = 3,
    selection: Selection,
    data: Data,
    split: Annotated[
        str | None,
        evaluate_option(
            help="Split of the task: test, val or train; choose a ratio on val only.",
            show_default="val, if the task has one",
            autocompletion=splits,
        ),
    ] = None,
    place: Place,
    calibration: Annotated[
        int | None,
        calibration_option(help="Number of unlabelled calibration sequences.", show_default="made without data"),
    ] = None,
    calibration_file: Annotated[
        Path | None,
        calibration_option(metavar="FILE", help="NPZ file with x (and lengths), or a text file, to use instead."),
    ] = None,
    out: Annotated[
        Path | None,
        output_option(help="Directory for points, tables, figures and a report; a rerun resumes from it."),
    ] = None,
    plot: Annotated[Path | None, output_option(help="Draw the figure into this .svg, .png or .pdf file.")] = None,
    model: Model,
    step: Step,
    general: Reported,
) -> None:
    """Measure accuracy or perplexity against ratio for several ways to prune, as a table and a figure."""
    from last_cli.display.figures.figure import available
    from last_cli.display.figures.sweep import draw_sweep
    from last_cli.display.sweep import sweep_view, write_files
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
            tell=lambda line, kind: tell(line, quiet, kind),
        )
    tell_assumed(result.assumed, quiet)
    show(sweep_view(result), general, result.doubts)
    for path in write_files(result, out) if out is not None else []:
        tell(f"wrote {path}", quiet)
    if out is not None and not available():
        tell("pip install matplotlib, and the figures are drawn too", quiet, "hint")
    if plot is not None:
        draw_sweep(result, plot)
        tell(f"wrote {plot}", quiet)
