"""The commands: parse, one call of the API, show."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from last_cli import __version__
from last_cli.errors import LastError, UsageError

app = typer.Typer(
    name="last",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Score, prune and evaluate trained S5 and S4D checkpoints.",
    epilog="Example:  last score ckpt/\n\nExample:  last prune ckpt/ --ratio 0.33\n\n"
    "Example:  last eval pruned/ --task listops --baseline ckpt/",
)


Format = Literal["table", "json", "csv", "md"]
Scope = Literal["global", "layer"]
Shape = Literal["ragged", "rectangular"]
Discretization = Literal["zoh", "bilinear"]

Ckpt = Annotated[
    Path, typer.Argument(metavar="CKPT", help="A checkpoint, a step, or a run's directory.", show_default=False)
]
FormatOption = Annotated[Format, typer.Option("--format", help="Form of the output on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, hints or summaries.", show_default="no")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more; tracebacks of errors.", show_default="no")]
Step = Annotated[int | None, typer.Option(help="Which step of a run.", show_default="newest committed")]
Item = Annotated[str | None, typer.Option(help="Which item of a step.", show_default="the one with SSM layers")]
TELLS = "what the checkpoint says, else assumed"
Discretize = Annotated[Discretization | None, typer.Option(help="Discretisation.", show_default=TELLS)]
ClipEigs = Annotated[
    bool | None, typer.Option("--clip-eigs/--no-clip-eigs", help="Real parts clipped at -1e-4.", show_default=TELLS)
]
ConjSym = Annotated[
    bool | None, typer.Option("--conj-sym/--no-conj-sym", help="States are conjugate pairs.", show_default=TELLS)
]
Rescale = Annotated[float | None, typer.Option("--step-rescale", help="Factor on all step sizes.", show_default=TELLS)]
Preset = Annotated[
    str | None, typer.Option(help="A published configuration, such as s5-lra-listops.", show_default="none")
]
Criterion = Annotated[str, typer.Option("--criterion", help="How states are scored: `last list criteria`.")]
ScopeOption = Annotated[Scope, typer.Option("--scope", help="Rank all layers together, or each alone.")]
MinStates = Annotated[int, typer.Option(help="States that every layer keeps at least.")]
Seed = Annotated[int, typer.Option(help="Seed of the criterion random.")]
ShapeOption = Annotated[Shape, typer.Option("--shape", help="S4D: rectangular keeps as many states in every channel.")]
Unstable = Annotated[
    bool, typer.Option("--allow-unstable", help="Go on with poles at or beyond the unit circle.", show_default="no")
]
Force = Annotated[
    bool, typer.Option("--force", "-f", help="Replace an output that is a checkpoint.", show_default="no")
]


def _version(shown: bool) -> bool:
    if shown:
        sys.stdout.write(f"last {__version__}\n")
        raise typer.Exit
    return shown


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.", show_default="no")
    ] = False,
) -> None:
    """Score, prune and evaluate trained S5 and S4D checkpoints."""


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
        Path | None, typer.Option(help="Draw poles and kept states: .svg or .png.", show_default="no")
    ] = None,
    scope: ScopeOption = "global",
    min_states: MinStates = 1,
    seed: Seed = 0,
    shape: ShapeOption = "ragged",
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
    from last_cli import plots, report, scoring

    if plot is not None:
        plots.check(plot)
    checkpoint = _load(
        ckpt, step, item, preset, quiet, **_layer_options(discretization, clip_eigs, conj_sym, step_rescale)
    )
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
    )
    _tell_assumed(result.assumed, quiet)
    report.show_score(result, form, per_state)
    _tell_all(result.warnings, "warning")
    if plot is not None:
        plots.draw_scores(result, plot)
        _tell(f"wrote {plot}", quiet)
    if ratio is None:
        _tell(f"last prune {ckpt} --ratio 0.33   # removes the lowest third", quiet, "hint")


@app.command(
    epilog="Example:  last prune ckpt/ --ratio 0.33\n\n"
    "Example:  last prune ckpt/ --ratio 0.5 --criterion aire -o small\n\n"
    "Example:  last prune ckpt/ --ratio 0.6 --dry-run --format json"
)
def prune(
    ckpt: Ckpt,
    ratio: Annotated[float, typer.Option(help="Share of all states to remove, in [0, 1).", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the pruned checkpoint goes.")] = Path("pruned"),
    criterion: Criterion = "last",
    scope: ScopeOption = "global",
    min_states: MinStates = 1,
    seed: Seed = 0,
    shape: ShapeOption = "ragged",
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
    from last_cli import api, pruning, report

    checkpoint = _load(
        ckpt, step, item, preset, quiet, **_layer_options(discretization, clip_eigs, conj_sym, step_rescale)
    )
    small = pruning.prune(
        checkpoint,
        ratio,
        criterion,
        scope=scope,
        min_states=min_states,
        seed=seed,
        shape=shape,
        allow_unstable=allow_unstable,
    )
    result = small.report
    assert result is not None
    if not dry_run:
        api.save(small, output, force=force)
    _tell_assumed(result.assumed, quiet)
    report.show_prune(result, form, None if dry_run else str(output))
    _tell_all(result.warnings, "warning")
    for line in report.prune_summary(result):
        _tell(line, quiet)
    if hint := report.shape_hint(result):
        _tell(hint, quiet, "hint")
    if dry_run:
        _tell("dry run: nothing was written", quiet)
    else:
        task = (small.stamp.get("task") or {}).get("name", "TASK")
        _tell(f"wrote {output}", quiet, "ok")
        _tell(f"next: last eval {output} --task {task} --baseline {ckpt}", quiet, "hint")


@app.command(
    "eval",
    epilog="Example:  last eval pruned/ --task listops --baseline ckpt/\n\n"
    "Example:  last eval ckpt/ --task listops --preset s5-lra-listops --limit 500\n\n"
    "Example:  last eval pruned/ --task listops --baseline ckpt/ --max-drop 0.5",
)
def evaluate(
    ckpt: Ckpt,
    task: Annotated[
        str, typer.Option(help="The task: `last list tasks`, or FILE.npz of arrays x, y, lengths.", show_default=False)
    ],
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the task's files are.", show_default="$LAST_DATA_DIR, else generated")
    ] = None,
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Sequences a device takes at a time.", show_default="4 on a CPU, 64 else")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many sequences.", show_default="all")] = None,
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
    device: Annotated[
        Literal["cpu", "gpu", "tpu"] | None, typer.Option(help="Where to run.", show_default="JAX's choice")
    ] = None,
    activation: Annotated[
        Literal["full_glu", "half_glu1", "half_glu2", "gelu"] | None, typer.Option(help="The gate.", show_default=TELLS)
    ] = None,
    prenorm: Annotated[
        bool | None, typer.Option("--prenorm/--postnorm", help="Where the norm stands.", show_default=TELLS)
    ] = None,
    mode: Annotated[
        Literal["pool", "last"] | None, typer.Option(help="Mean over time, or the last step.", show_default=TELLS)
    ] = None,
    padded: Annotated[
        bool | None,
        typer.Option("--padded/--no-padded", help="Mean over each sequence's own length.", show_default=TELLS),
    ] = None,
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
    """Accuracy on a task's split, and against a baseline; gates for CI."""
    from last_cli import report
    from last_cli.evaluation import evaluate as run

    options = _layer_options(discretization, clip_eigs, conj_sym, step_rescale)
    options |= {"activation": activation, "prenorm": prenorm, "mode": mode, "padded": padded}
    checkpoint = _load(ckpt, step, item, preset, quiet, **options)
    other = _load(baseline, None, item, preset, quiet, **options) if baseline else None
    with report.progress_bar(quiet) as progress:
        result = run(
            checkpoint,
            task,
            split=split,
            data_dir=data_dir,
            limit=limit,
            batch_size=batch_size,
            device=device,
            baseline=other,
            min_accuracy=_fraction(min_accuracy),
            max_drop=max_drop,
            progress=progress,
        )
    _tell_assumed(result.assumed, quiet)
    report.show_eval(result, form)
    _tell(report.eval_summary(result), quiet)
    for line, passed in report.gate_lines(result):
        _tell(line, quiet and passed, "ok" if passed else "error")
        if not passed and os.environ.get("GITHUB_ACTIONS") == "true":
            sys.stderr.write(f"::error::{line}\n")
    if not result.passed:
        raise typer.Exit(1)


@app.command(epilog="Example:  last inspect ckpt/\n\nExample:  last inspect ckpt/ --tree")
def inspect(
    ckpt: Ckpt,
    tree: Annotated[bool, typer.Option("--tree", help="List every leaf.", show_default="no")] = False,
    step: Step = None,
    item: Item = None,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """What is in a checkpoint, from its metadata alone."""
    from last_cli import report_inspect
    from last_cli.inspection import inspect as look

    found = look(ckpt, step=step, item=item)
    report_inspect.show_inspect(found, form, tree)
    _tell_all(found.notes, "warning")


@app.command("list", epilog="Example:  last list criteria\n\nExample:  last list tasks --format json")
def list_(
    kind: Annotated[
        Literal["criteria", "families", "tasks", "presets"], typer.Argument(help="What to list.", show_default=False)
    ],
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Criteria, families, tasks or presets, each with a line about it."""
    from last_cli import report_inspect

    report_inspect.show_list(kind, form)


@app.command(epilog="Example:  last demo\n\nExample:  last demo --ratio 0.5")
def demo(
    ratio: Annotated[float, typer.Option(help="Share of all states to remove.")] = 0.33,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score, prune and evaluate a bundled checkpoint, in a temporary directory."""
    from last_cli.demo import run

    raise typer.Exit(run(ratio, main))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 fine, 1 the answer is no, 2 an error, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return int(app(arguments, prog_name="last", standalone_mode=False) or 0)
    except LastError as error:
        return _fail(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return 130
    except typer.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not hasattr(error, "format_message"):
            kind = type(error).__name__
            message = f"internal error: {kind}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            return _fail(LastError(message, "run it again with -v for the traceback, and report it"), arguments)
        message = error.format_message().replace("\n", " ").removesuffix(".")  # pyright: ignore[reportAttributeAccessIssue]
        if not message:  # no arguments at all: the help was shown
            return 2
        known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
        command = next((a for a in arguments if a in known), "")
        return _fail(
            UsageError(message[:1].lower() + message[1:], f"last {command} --help".replace("  ", " ")), arguments
        )


def _fail(error: LastError, arguments: Sequence[str]) -> int:
    if os.environ.get("LAST_DEBUG") == "1" or {"-v", "--verbose"} & set(arguments):
        traceback.print_exc()
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return 2


def _load(path: Path, step: int | None, item: str | None, preset: str | None, quiet: bool, **options: Any) -> Any:
    from last_cli import report
    from last_cli.loading import load

    checkpoint = load(path, step=step, item=item, preset=preset, **options)
    _tell_all(checkpoint.index.location.notes, "")
    _tell(report.read_line(checkpoint), quiet)
    return checkpoint


def _layer_options(
    discretization: str | None, clip_eigs: bool | None, conj_sym: bool | None, step_rescale: float | None
) -> dict[str, Any]:
    return {
        "discretization": discretization,
        "clip_eigs": clip_eigs,
        "conj_sym": conj_sym,
        "step_rescale": step_rescale,
    }


def _fraction(accuracy: float | None) -> float | None:
    return accuracy / 100 if accuracy is not None and accuracy > 1 else accuracy


def _tell(line: str, quiet: bool, kind: Literal["", "hint", "ok", "error", "warning"] = "") -> None:
    if not quiet:
        from last_cli import report

        report.tell(line, kind)


def _tell_all(lines: Sequence[str], kind: Literal["", "warning"]) -> None:
    for line in lines:
        _tell(line, False, kind)


def _tell_assumed(assumed: Any, quiet: bool) -> None:
    from last_cli import report

    if assumed:
        _tell(report.assumed_line(assumed), quiet)
