"""`last score`, `last prune` and `last eval`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from last_cli.cli.app import app
from last_cli.cli.options import (
    MODEL,
    SEQUENCES,
    TELLS,
    Calibration,
    CalibrationFile,
    CalibrationTask,
    Ckpt,
    ClipEigs,
    ConjSym,
    Criterion,
    DataDir,
    Discretize,
    Force,
    FormatOption,
    Horizon,
    Item,
    MaxDrop,
    MaxError,
    MinStates,
    Preset,
    Quiet,
    RatioOption,
    Rescale,
    ScopeOption,
    Seed,
    ShapeOption,
    Step,
    Strict,
    Unstable,
    Verbose,
)
from last_cli.cli.running import (
    BatchSize,
    ConnectTimeout,
    Coordinator,
    DeviceOption,
    Distributed,
    Limit,
    Precision,
    Processes,
    ProcessId,
    Resume,
    TaskData,
    TaskOption,
    join,
)
from last_cli.cli.shared import check_plot, fraction, layer_options, load, tell, tell_all, tell_assumed, tell_needed


@app.command(
    epilog="Example:  last score ckpt/\n\nExample:  last score ckpt/ --ratio 0.33 --plot poles.svg\n\n"
    "Example:  last score runs/ --step 900 --per-state --format csv > states.csv"
)
def score(
    ckpt: Ckpt,
    criterion: Criterion = "last",
    ratio: Annotated[float | None, typer.Option(help="Show what stays at this ratio.", show_default="none")] = None,
    layer: Annotated[
        str | None, typer.Option(help="Only layers whose name matches this glob.", show_default="all")
    ] = None,
    per_state: Annotated[bool, typer.Option("--per-state", help="A row a state.", show_default="no")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw poles and kept states: .svg, .png or .pdf.", show_default="no")
    ] = None,
    scope: ScopeOption = "global",
    min_states: MinStates = 1,
    seed: Seed = 0,
    shape: ShapeOption = "ragged",
    horizon: Horizon = None,
    calibration: Calibration = None,
    task: Annotated[
        str | None,
        typer.Option(help="Their task: its val split.", show_default="the trained one", rich_help_panel=SEQUENCES),
    ] = None,
    calibration_file: CalibrationFile = None,
    data_dir: DataDir = None,
    discretization: Discretize = None,
    clip_eigs: ClipEigs = None,
    conj_sym: ConjSym = None,
    step_rescale: Rescale = None,
    preset: Preset = None,
    allow_unstable: Unstable = False,
    step: Step = None,
    item: Item = None,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """H-infinity norms and scores of every state, a row a layer."""
    from last_cli import api as scoring
    from last_cli.display.score import show_score
    from last_cli.display.terminal import progress_bar

    if plot is not None:
        check_plot(plot)
    checkpoint = load(
        ckpt, step, item, preset, quiet, **layer_options(discretization, clip_eigs, conj_sym, step_rescale)
    )
    with progress_bar(quiet) as progress:
        result = scoring.score(
            checkpoint,
            criterion,
            ratio=ratio,
            layer=layer,
            scope=scope,
            min_states=min_states,
            seed=seed,
            shape=shape,
            allow_unstable=allow_unstable,
            horizon=horizon,
            calibration=calibration,
            task=task,
            calibration_file=calibration_file,
            data_dir=data_dir,
            progress=progress,
        )
    tell_assumed(result.assumed, quiet)
    tell_needed(result, quiet)
    show_score(result, form, per_state)
    tell_all(result.warnings, "warning")
    if plot is not None:
        from last_cli.display.figures.scores import draw_scores

        draw_scores(result, plot)
        tell(f"wrote {plot}", quiet)
    if ratio is None:
        tell(f"last prune {ckpt} --ratio 0.33   # removes the lowest third", quiet, "next")


@app.command(
    epilog="Example:  last prune ckpt/ --ratio 0.33\n\n"
    "Example:  last prune ckpt/ --ratio 0.5 --criterion aire -o small\n\n"
    "Example:  last prune ckpt/ --ratio 0.6 --method reconstruct --calibration 256\n\n"
    "Example:  last prune ckpt/ --max-drop 0.5 --task listops --method reconstruct"
)
def prune(
    ckpt: Ckpt,
    ratio: RatioOption = None,
    max_drop: MaxDrop = None,
    max_error: MaxError = None,
    strict: Strict = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the pruned checkpoint goes.")] = Path("pruned"),
    criterion: Criterion = "last",
    scope: ScopeOption = "global",
    min_states: MinStates = 1,
    seed: Seed = 0,
    shape: ShapeOption = "ragged",
    method: Annotated[
        Literal["criterion", "reconstruct", "balanced"],
        typer.Option(help="reconstruct eliminates greedily and refits C; balanced finds new poles."),
    ] = "criterion",
    refit: Annotated[
        bool, typer.Option("--refit", help="Refit C after the criterion's choice.", show_default="no")
    ] = False,
    horizon: Horizon = None,
    calibration: Calibration = None,
    task: CalibrationTask = None,
    calibration_file: CalibrationFile = None,
    data_dir: DataDir = None,
    masked: Annotated[
        bool,
        typer.Option("--masked", help="Keep all shapes; zero B and C of removed states.", show_default="no"),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Report, write nothing.", show_default="no")] = False,
    force: Force = False,
    discretization: Discretize = None,
    clip_eigs: ClipEigs = None,
    conj_sym: ConjSym = None,
    step_rescale: Rescale = None,
    preset: Preset = None,
    allow_unstable: Unstable = False,
    step: Step = None,
    item: Item = None,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove the states that matter least and write a smaller checkpoint. The input is never touched."""
    from last_cli import api
    from last_cli.display.prune import prune_hints, prune_summary, show_prune
    from last_cli.display.terminal import progress_bar
    from last_cli.formats import check_output

    checkpoint = load(
        ckpt, step, item, preset, quiet, **layer_options(discretization, clip_eigs, conj_sym, step_rescale)
    )
    if not dry_run:
        check_output(output, source=checkpoint.index, force=force)
    with progress_bar(quiet) as progress:
        small = api.prune(
            checkpoint,
            ratio,
            criterion,
            max_drop=max_drop,
            max_error=max_error,
            strict=strict,
            method=method,
            refit=refit,
            calibration=calibration,
            task=task,
            calibration_file=calibration_file,
            data_dir=data_dir,
            scope=scope,
            min_states=min_states,
            seed=seed,
            shape=shape,
            masked=masked,
            allow_unstable=allow_unstable,
            horizon=horizon,
            progress=progress,
        )
    result = small.report
    assert result is not None
    if not dry_run:
        api.save(small, output, force=force)
    tell_assumed(result.assumed, quiet)
    tell_needed(result, quiet)
    show_prune(result, form, None if dry_run else str(output))
    tell_all(result.warnings, "warning")
    for line in prune_summary(result):
        tell(line, quiet)
    for hint in prune_hints(result):
        tell(hint, quiet, "hint")
    if dry_run:
        tell("dry run: nothing was written", quiet)
    else:
        judged = small.task.get("name", "TASK")
        tell(f"wrote {output}", quiet, "ok")
        tell(f"last eval {output} --task {judged} --baseline {ckpt}", quiet, "next")


@app.command(
    "eval",
    epilog="Example:  last eval pruned/ --task listops --baseline ckpt/\n\n"
    "Example:  last eval ckpt/ --task listops --preset s5-lra-listops --limit 500\n\n"
    "Example:  last eval pruned/ --task listops --baseline ckpt/ --max-drop 0.5\n\n"
    "Example:  last eval ckpt/ --task pathx --resume",
)
def evaluate(
    ckpt: Ckpt,
    task: TaskOption,
    data_dir: TaskData = None,
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    batch_size: BatchSize = None,
    limit: Limit = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="CKPT", help="Compare with this one, sequence by sequence.", show_default="none"),
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Exit 1 below this accuracy: 0.6, or 60 for percent.", show_default="no gate")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Exit 1 if more percentage points are lost.", show_default="no gate")
    ] = None,
    device: DeviceOption = None,
    precision: Precision = "float32",
    resume: Resume = False,
    activation: Annotated[
        Literal["full_glu", "half_glu1", "half_glu2", "gelu"] | None,
        typer.Option(help="The gate.", show_default=TELLS, rich_help_panel=MODEL),
    ] = None,
    prenorm: Annotated[
        bool | None,
        typer.Option("--prenorm/--postnorm", help="Where the norm stands.", show_default=TELLS, rich_help_panel=MODEL),
    ] = None,
    mode: Annotated[
        Literal["pool", "last"] | None,
        typer.Option(help="Mean over time, or the last step.", show_default=TELLS, rich_help_panel=MODEL),
    ] = None,
    padded: Annotated[
        bool | None,
        typer.Option(
            "--padded/--no-padded",
            help="Mean over each sequence's own length.",
            show_default=TELLS,
            rich_help_panel=MODEL,
        ),
    ] = None,
    discretization: Discretize = None,
    clip_eigs: ClipEigs = None,
    conj_sym: ConjSym = None,
    step_rescale: Rescale = None,
    preset: Preset = None,
    step: Step = None,
    item: Item = None,
    coordinator: Coordinator = None,
    processes: Processes = None,
    process_id: ProcessId = None,
    distributed: Distributed = False,
    connect_timeout: ConnectTimeout = 120,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Accuracy on a task's split, and against a baseline; gates for CI."""
    from last_cli.display.eval import eval_summary, gate_lines, show_eval
    from last_cli.display.terminal import progress_bar
    from last_cli.evaluation.evaluate import Limits, Request
    from last_cli.evaluation.evaluate import evaluate as run

    reports = join(coordinator, processes, process_id, distributed, connect_timeout, device)
    quiet = quiet or not reports
    options = layer_options(discretization, clip_eigs, conj_sym, step_rescale)
    options |= {"activation": activation, "prenorm": prenorm, "mode": mode, "padded": padded}
    checkpoint = load(ckpt, step, item, preset, quiet, **options)
    other = load(baseline, None, item, preset, quiet, **options) if baseline else None
    with progress_bar(quiet) as progress:
        result = run(
            checkpoint,
            Request(task, split, data_dir, limit, batch_size, device, precision),
            baseline=other,
            limits=Limits(fraction(min_accuracy), max_drop),
            resume=resume,
            progress=progress,
            tell=lambda line, kind: tell(line, quiet, kind),
        )
    if not reports:
        raise typer.Exit(0 if result.passed else 1)
    tell_assumed(result.assumed, quiet)
    show_eval(result, form)
    tell(eval_summary(result), quiet)
    for line, passed in gate_lines(result):
        tell(line, quiet and passed, "ok" if passed else "error")
        if not passed and os.environ.get("GITHUB_ACTIONS") == "true":
            sys.stderr.write(f"::error::{line}\n")
    if not result.passed:
        raise typer.Exit(1)
