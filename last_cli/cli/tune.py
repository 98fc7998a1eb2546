"""`last tune`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import (
    Device,
    Force,
    General,
    Model,
    Step,
    calibration_option,
    complete,
    how_option,
    output_option,
)
from last_cli.cli.shared import load, tell, tell_all, tell_assumed

Pruned = Annotated[Path, typer.Argument(metavar="PRUNED", help="What `last prune` wrote.", show_default=False)]


@command(
    "last tune pruned/ --teacher ckpt/",
    "last tune pruned/ --teacher ckpt/ --minutes 5 -o tuned",
    "last tune pruned/ --teacher ckpt/ --calibration-file inputs.npz",
)
def tune(
    pruned: Pruned,
    *,
    teacher: Annotated[
        Path, calibration_option(metavar="CKPT", help="The checkpoint that it was pruned from.", show_default=False)
    ],
    task: Annotated[
        str | None,
        calibration_option(
            help="Whose sequences, without labels.", show_default="the trained one", autocompletion=complete("tasks")
        ),
    ] = None,
    split: Annotated[Literal["train", "val"], calibration_option(help="Of the task; never test.")] = "train",
    calibration_file: Annotated[
        Path | None,
        calibration_option(metavar="FILE", help="Or a file of them: FILE.npz of x, lengths.", show_default="none"),
    ] = None,
    data_dir: Annotated[
        Path | None, calibration_option(help="Where the task's files are.", show_default="$LAST_DATA_DIR")
    ] = None,
    sequences: Annotated[int, calibration_option(help="How many at most; one in eight is held out.")] = 8000,
    steps: Annotated[int | None, how_option(help="How many steps at most.", show_default="4000")] = None,
    minutes: Annotated[
        float | None, how_option(help="Instead: as many as fit into these.", show_default="no limit")
    ] = None,
    seed: Annotated[int, how_option(help="Of the sequences that are drawn, and of their order.")] = 0,
    resume: Annotated[
        bool, how_option("--resume", help="Go on where an interrupted run stopped.", show_default="no")
    ] = False,
    device: Device = None,
    output: Annotated[Path, output_option("--output", "-o", help="Where the tuned checkpoint goes.")] = Path("tuned"),
    force: Force = False,
    model: Model,
    step: Step,
    general: General,
) -> None:
    """Train what a pruned checkpoint keeps towards the answers of the unpruned one. No label is read."""
    from last_cli.display.terminal import progress_bar
    from last_cli.display.tune import show_tune, tune_lines
    from last_cli.formats import check_output

    quiet = general.quiet
    checkpoint = load(pruned, quiet, **vars(step), **vars(model))
    whole = load(teacher, quiet, **vars(model))
    for source in (checkpoint, whole):
        check_output(output, source=source.index, force=force)
    with progress_bar(quiet) as progress:
        small = last.tune(
            checkpoint,
            whole,
            task=task,
            split=split,
            calibration_file=calibration_file,
            data_dir=data_dir,
            sequences=sequences,
            steps=steps,
            minutes=minutes,
            seed=seed,
            resume=resume,
            device=device,
            progress=progress,
            tell=lambda line, kind: tell(line, quiet, kind),
        )
    result = small.tuned
    assert result is not None
    last.save(small, output, force=force)
    tell_assumed(result.assumed, quiet)
    show_tune(result, general.form, str(output))
    tell_all(result.warnings, "warning")
    for line in tune_lines(result):
        tell(line, quiet)
    tell(f"wrote {output}", quiet, "ok")
    tell(f"last eval {output} --task {small.task_name or 'TASK'} --baseline {teacher}", quiet, "next")
