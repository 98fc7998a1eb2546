"""The options of the commands: each by its own name, and those that go together as dataclasses.

A command takes the dataclasses as parameters and Typer sees their fields as flags (see expand). A field has the name of
the public function's keyword, so that `vars(options)` are the keywords of the call.
"""

# No `from __future__ import annotations` here and in the commands: Typer would have to evaluate each annotation again.
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from last_cli.cli.expand import options

if TYPE_CHECKING:
    from last_cli.base.registry import Kind

# The groups of a help page, in their order.
REMOVE, EVALUATE, HOW, CALIBRATION = "What to remove", "What to evaluate on", "How", "Calibration data"
OUTPUT, GATES, MODEL, PROCESSES = "Output", "Comparison and gates", "Model settings", "Several processes"
GENERAL = "General"
GROUPS = (REMOVE, EVALUATE, HOW, CALIBRATION, OUTPUT, GATES, MODEL, PROCESSES, GENERAL)

TELLS = "what the checkpoint says, else assumed"

remove_option = partial(typer.Option, rich_help_panel=REMOVE)
evaluate_option = partial(typer.Option, rich_help_panel=EVALUATE)
how_option = partial(typer.Option, rich_help_panel=HOW)
calibration_option = partial(typer.Option, rich_help_panel=CALIBRATION)
output_option = partial(typer.Option, rich_help_panel=OUTPUT)
gate_option = partial(typer.Option, rich_help_panel=GATES)
model_option = partial(typer.Option, rich_help_panel=MODEL)
process_option = partial(typer.Option, rich_help_panel=PROCESSES)


def complete(kind: "Kind") -> Callable[[str], list[str]]:
    """What a shell offers where a name of the registry is expected."""

    def found(incomplete: str) -> list[str]:
        from last_cli.base.registry import names

        return [name for name in names(kind) if name.startswith(incomplete)]

    return found


def share(text: str) -> float:
    """2% or 0.02; a bare number from 1 could mean either."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no share, expected one such as 2% or 0.02") from error
    if text.endswith("%"):
        return value / 100
    if value >= 1:
        raise typer.BadParameter(f"{text} may mean {text}% or {value:.0%}: add the sign")
    return value


Ckpt = Annotated[
    Path, typer.Argument(metavar="CKPT", help="A checkpoint, a step, or a run's directory.", show_default=False)
]
Force = Annotated[
    bool, output_option("--force", "-f", help="Replace an output that is a checkpoint.", show_default="no")
]
Device = Annotated[Literal["cpu", "gpu", "tpu"] | None, how_option(help="Where to run.", show_default="JAX's choice")]
Precision = Annotated[
    Literal["float32", "bfloat16"], how_option(help="Of products and activations; the states stay float32.")
]
Unstable = Annotated[
    bool, model_option("--allow-unstable", help="Go on with poles at or beyond the unit circle.", show_default="no")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, hints or summaries.", show_default="no")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.", show_default="no")]


@options
class Amount:
    """How much is removed: by one of the first five."""

    ratio: Annotated[
        float | None,
        remove_option(help="Share of all states to remove, in [0, 1).", show_default="none"),
    ] = None
    max_drop: Annotated[
        float | None,
        remove_option(help="Instead: points that --task may lose on validation data.", show_default="none"),
    ] = None
    max_increase: Annotated[
        float | None,
        remove_option(
            parser=share,
            metavar="SHARE",
            help="Instead: by how much the perplexity of --task FILE.txt may grow: 2%.",
            show_default="none",
        ),
    ] = None
    max_error: Annotated[
        float | None,
        remove_option(help="Instead: relative squared error of the logits, no labels.", show_default="none"),
    ] = None
    keep: Annotated[
        Path | None,
        remove_option(metavar="FILE", help="Instead: keep these units: JSON, or a pruned CKPT.", show_default="none"),
    ] = None
    strict: Annotated[
        bool,
        remove_option(
            "--strict",
            help="--max-error: one standard error more must fit; the others: the upper limit, as it does by default.",
            show_default="no",
        ),
    ] = False
    estimate: Annotated[
        bool,
        remove_option("--estimate", help="The estimate must fit, not its upper limit.", show_default="no"),
    ] = False
    assume: Annotated[
        bool, remove_option("--assume", help="Search even where the configuration is a guess.", show_default="no")
    ] = False


@options
class Scoring:
    """What a state's score is."""

    criterion: Annotated[
        str, remove_option(help="How states are scored: `last list criteria`.", autocompletion=complete("criteria"))
    ] = "last"
    seed: Annotated[int, how_option(help="Seed of the criterion random, and of inputs made without data.")] = 0
    horizon: Annotated[
        int | None, how_option(help="Steps that the criterion energy looks ahead.", show_default="the trained length")
    ] = None


@options
class Selection:
    """Which states go, given their scores and how many go."""

    scope: Annotated[
        Literal["global", "layer"] | None,
        remove_option(
            help="Rank all layers together, or each alone.", show_default="global; layer for language models"
        ),
    ] = None
    min_states: Annotated[int, remove_option(help="States that every layer keeps at least; 0 may empty one.")] = 1
    shape: Annotated[
        Literal["ragged", "rectangular"], how_option(help="S4D: rectangular keeps as many states in every channel.")
    ] = "ragged"


@options
class Units:
    """What is removed, and in which numbers."""

    target: Annotated[
        str | None,
        remove_option(metavar="NAME", help="What goes: states, heads, weights, ...", show_default="states"),
    ] = None
    multiple_of: Annotated[
        int | None,
        remove_option(metavar="N", help="Language models: round what is kept up.", show_default="8; 1 below 16 states"),
    ] = None


@options
class Weights:
    """Which weights go, where it is them that go."""

    pattern: Annotated[
        str | None,
        remove_option(metavar="N:M", help="--target weights: N stay of every M: 2:4, 4:8.", show_default="any place"),
    ] = None
    modules: Annotated[
        str | None,
        remove_option(metavar="NAMES", help="Of in_proj,out_proj,mlp: whose weights.", show_default="in_proj"),
    ] = None


@options
class Way:
    """What becomes of the states that stay."""

    method: Annotated[
        str,
        how_option(
            help="reconstruct eliminates greedily and refits C; balanced finds new poles: `last list methods`.",
            autocompletion=complete("methods"),
        ),
    ] = "criterion"
    refit: Annotated[bool, how_option("--refit", help="Refit C after the criterion's choice.", show_default="no")] = (
        False
    )
    masked: Annotated[
        bool, how_option("--masked", help="Keep all shapes; zero B and C of removed states.", show_default="no")
    ] = False


@options
class Calibration:
    """The sequences to measure on."""

    calibration: Annotated[
        int | None,
        calibration_option(help="How many, without labels; of a text windows.", show_default="made without data"),
    ] = None
    task: Annotated[
        str | None, calibration_option(help="Their task: its val split.", show_default="the trained one")
    ] = None
    calibration_file: Annotated[
        Path | None,
        calibration_option(metavar="FILE", help="Or a file: FILE.npz of x, lengths, or a text.", show_default="none"),
    ] = None
    data_dir: Annotated[
        Path | None, calibration_option(help="Where the task's files are.", show_default="$LAST_DATA_DIR")
    ] = None


@options
class BudgetCalibration(Calibration):
    """The same where the task is also what a budget is measured on."""

    task: Annotated[
        str | None,
        calibration_option(help="Their task, and that of --max-drop: its val split.", show_default="the trained one"),
    ] = None


@options
class Output:
    """Where the pruned checkpoint goes, if anywhere."""

    output: Annotated[Path, output_option("--output", "-o", help="Where the pruned checkpoint goes.")] = Path("pruned")
    drop: Annotated[
        list[str] | None,
        output_option(
            metavar="GLOB", help="Leave out what code makes anew: caches, opt_state.", show_default="nothing"
        ),
    ] = None
    dry_run: Annotated[bool, output_option("--dry-run", "-n", help="Report, write nothing.", show_default="no")] = False
    force: Force = False


@options
class Data:
    """A task's sequences."""

    task: Annotated[
        str | None,
        evaluate_option(
            help="The task: `last list tasks`, FILE.npz of arrays x, y, lengths, or FILE.txt.",
            show_default="the trained one",
            autocompletion=complete("tasks"),
        ),
    ] = None
    limit: Annotated[int | None, evaluate_option(help="Only the first so many sequences.", show_default="all")] = None
    data_dir: Annotated[
        Path | None, evaluate_option(help="Where the task's files are.", show_default="$LAST_DATA_DIR, else generated")
    ] = None


@options
class Place:
    """Where a model runs."""

    batch_size: Annotated[
        int | None, how_option(min=1, help="Sequences a device takes at a time.", show_default="1 on a CPU, 64 else")
    ] = None
    device: Device = None


@options
class Gates:
    """What the result is compared with, and what must hold for exit code 0."""

    baseline: Annotated[
        Path | None,
        gate_option(metavar="CKPT", help="Compare with this one, sequence by sequence.", show_default="none"),
    ] = None
    min_accuracy: Annotated[
        float | None, gate_option(help="Exit 1 below this accuracy: 0.6, or 60 for percent.", show_default="no gate")
    ] = None
    max_drop: Annotated[
        float | None, gate_option(help="Exit 1 if more percentage points are lost.", show_default="no gate")
    ] = None
    strict: Annotated[
        bool,
        gate_option("--strict", help="--max-drop: judge the drop's upper limit, at 95 %.", show_default="no"),
    ] = False
    max_perplexity: Annotated[
        float | None, gate_option(help="Exit 1 above this perplexity by token.", show_default="no gate")
    ] = None
    max_increase: Annotated[
        float | None,
        gate_option(
            parser=share, metavar="SHARE", help="Exit 1 if the perplexity grows by more: 2%.", show_default="no gate"
        ),
    ] = None
    assume: Annotated[
        bool, gate_option("--assume", help="Judge even where the configuration is a guess.", show_default="no")
    ] = False


@options
class Model:
    """What a checkpoint may not say of its SSM layers, and of the network around them."""

    discretization: Annotated[
        Literal["zoh", "bilinear", "dirac"] | None, model_option(help="Discretisation.", show_default=TELLS)
    ] = None
    clip_eigs: Annotated[
        bool | None, model_option("--clip-eigs/--no-clip-eigs", help="Real parts clipped at -1e-4.", show_default=TELLS)
    ] = None
    conj_sym: Annotated[
        bool | None, model_option("--conj-sym/--no-conj-sym", help="States are conjugate pairs.", show_default=TELLS)
    ] = None
    step_rescale: Annotated[float | None, model_option(help="Factor on all step sizes.", show_default=TELLS)] = None
    activation: Annotated[
        Literal["full_glu", "half_glu1", "half_glu2", "gelu"] | None, model_option(help="The gate.", show_default=TELLS)
    ] = None
    prenorm: Annotated[
        bool | None, model_option("--prenorm/--postnorm", help="Where the norm stands.", show_default=TELLS)
    ] = None
    mode: Annotated[
        Literal["pool", "last"] | None, model_option(help="Mean over time, or the last step.", show_default=TELLS)
    ] = None
    padded: Annotated[
        bool | None,
        model_option("--padded/--no-padded", help="Mean over each sequence's own length.", show_default=TELLS),
    ] = None
    preset: Annotated[
        str | None, model_option(help="A published configuration, such as s5-lra-listops.", show_default="none")
    ] = None
    config_from: Annotated[
        Path | None,
        model_option(metavar="CKPT", help="As this checkpoint, or .yaml or .json file, has it.", show_default="none"),
    ] = None


@options
class Processes:
    """The other processes, where there are any."""

    coordinator: Annotated[
        str | None,
        process_option(metavar="HOST:PORT", help="Where the first of several processes is.", show_default="no others"),
    ] = None
    processes: Annotated[int | None, process_option(help="How many processes.", show_default="1")] = None
    process_id: Annotated[int | None, process_option(help="Which one this is, from 0.", show_default="0")] = None
    distributed: Annotated[
        bool, process_option("--distributed", help="As SLURM or Open MPI started them.", show_default="no")
    ] = False
    connect_timeout: Annotated[float, process_option(help="Seconds to wait for all of them.")] = 120


@options
class Step:
    """Which part of a run's directory is read."""

    step: Annotated[int | None, typer.Option(help="Which step of a run.", show_default="newest committed")] = None
    item: Annotated[str | None, typer.Option(help="Which item of a step.", show_default="the one with SSM layers")] = (
        None
    )


@options
class General:
    """What every command takes that shows a result."""

    form: Annotated[
        Literal["table", "json", "csv", "md"], typer.Option("--format", help="Form of the output on stdout.")
    ] = "table"
    quiet: Quiet = False
    verbose: Verbose = False
