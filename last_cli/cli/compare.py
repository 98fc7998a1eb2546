"""`last compare`."""

from pathlib import Path
from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.completion import splits
from last_cli.cli.options import Data, Model, Place, Reported, evaluate_option, output_option
from last_cli.cli.shared import check_plot, load, show, tell


@command(
    "last compare ckpt/ pruned/ tuned/ --task listops",
    "last compare dense=run0/,run1/ small=small0/,small1/",
)
def compare(
    ckpts: Annotated[
        list[str],
        typer.Argument(
            metavar="CKPT",
            help="Paths of checkpoints, or NAME=CKPT,CKPT for the seeds of one model; the first is the baseline.",
            show_default=False,
        ),
    ],
    *,
    data: Data,
    split: Annotated[
        str, evaluate_option(help="Split of the task: test, val or train.", autocompletion=splits)
    ] = "test",
    place: Place,
    plot: Annotated[Path | None, output_option(help="Draw the figure into this .svg, .png or .pdf file.")] = None,
    model: Model,
    general: Reported,
) -> None:
    """Compare checkpoints and their seeds on one task, in one table and figure."""
    from last_cli.display.compare import compare_view
    from last_cli.display.terminal import progress_bar

    if plot is not None:
        check_plot(plot)
    named = [pair for argument in ckpts for pair in _named(argument)]
    checkpoints = [load(path, general.quiet, **vars(model)) for _, path in named]
    with progress_bar(general.quiet) as progress:
        result = last.compare(
            *checkpoints,
            names=[name for name, _ in named],
            **vars(data),
            **vars(place),
            split=split,
            progress=progress,
        )
    show(compare_view(result), general, result.doubts)
    if plot is not None:
        from last_cli.display.figures.compare import draw_compare

        draw_compare(result, plot)
        tell(f"wrote {plot}", general.quiet)


def _named(argument: str) -> list[tuple[str, Path]]:
    """A checkpoint by its path, or several by the name of their model."""
    name, sign, paths = argument.partition("=")
    if not (name and sign and paths) or Path(argument).exists():
        return [(argument, Path(argument))]
    return [(name, Path(path)) for path in paths.split(",")]
