"""`last tune`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.completion import tasks
from last_cli.cli.options import (
    Device,
    Force,
    General,
    Model,
    Step,
    calibration_option,
    how_option,
    output_option,
)
from last_cli.cli.shared import load, show, tell, tell_assumed

Pruned = Annotated[
    Path, typer.Argument(metavar="PRUNED", help="Path of a checkpoint that `last prune` wrote.", show_default=False)
]


@command(
    "last tune pruned/ --teacher ckpt/",
    "last tune pruned/ --teacher ckpt/ --minutes 5 -o tuned",
    "last tune pruned/ --teacher ckpt/ --calibration-file inputs.npz",
)
def tune(
    pruned: Pruned,
    *,
    teacher: Annotated[
        Path, calibration_option(metavar="CKPT", help="Checkpoint that it was pruned from.", show_default=False)
    ],
    task: Annotated[
        str | None,
        calibration_option(
            help="Task that supplies the unlabelled sequences.", show_default="the trained one", autocompletion=tasks
        ),
    ] = None,
    split: Annotated[Literal["train", "val"], calibration_option(help="Split of the task: train or val.")] = "train",
    calibration_file: Annotated[
        Path | None,
        calibration_option(metavar="FILE", help="NPZ file with x (and lengths) to use instead."),
    ] = None,
    data_dir: Annotated[
        Path | None, calibration_option(help="Directory of the task's files.", show_default="$LAST_DATA_DIR")
    ] = None,
    sequences: Annotated[int, calibration_option(help="Maximum number of sequences; one in eight is held out.")] = 8000,
    steps: Annotated[int | None, how_option(help="Maximum number of steps.", show_default="4000")] = None,
    minutes: Annotated[float | None, how_option(help="Train for this many minutes instead.")] = None,
    seed: Annotated[int, how_option(help="Seed of the choice and order of the sequences.")] = 0,
    resume: Annotated[bool, how_option("--resume", help="Resume an interrupted run.")] = False,
    device: Device = None,
    output: Annotated[Path, output_option("--output", "-o", help="Path of the tuned checkpoint.")] = Path("tuned"),
    force: Force = False,
    model: Model,
    step: Step,
    general: General,
) -> None:
    """Train what a pruned checkpoint keeps towards the answers of the unpruned one. No label is read."""
    from last_cli.display.terminal import progress_bar
    from last_cli.display.tune import tune_view
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
    show(tune_view(replace(result, output=str(output))), general, result.warnings)
    tell(f"wrote {output}", quiet, "ok")
    tell(f"last eval {output} --task {small.task_name or 'TASK'} --baseline {teacher}", quiet, "next")
