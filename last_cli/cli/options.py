"""The options of the commands: each by its own name, and those that go together as dataclasses.

A command takes the dataclasses as parameters and Typer sees their fields as flags (see expand). A field has the name of
the public function's keyword, so that `vars(options)` are the keywords of the call.
"""

# No `from __future__ import annotations` here and in the commands: Typer would have to evaluate each annotation again.
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from last_cli.cli.completion import criteria, methods, presets, several_of, targets, tasks
from last_cli.cli.expand import options
from last_cli.cli.gates import GateReport, Report, share
from last_cli.display.forms import Format, GateFormat

# The groups of a help page, in their order.
REMOVE, EVALUATE, HOW, CALIBRATION = "What to remove", "What to evaluate on", "How", "Calibration data"
OUTPUT, GATES, MODEL, PROCESSES = "Output", "Comparison and gates", "Model settings", "Several processes"
GENERAL = "General"
GROUPS = (REMOVE, EVALUATE, HOW, CALIBRATION, OUTPUT, GATES, MODEL, PROCESSES, GENERAL)

TELLS = "from the checkpoint"

remove_option = partial(typer.Option, rich_help_panel=REMOVE)
evaluate_option = partial(typer.Option, rich_help_panel=EVALUATE)
how_option = partial(typer.Option, rich_help_panel=HOW)
calibration_option = partial(typer.Option, rich_help_panel=CALIBRATION)
output_option = partial(typer.Option, rich_help_panel=OUTPUT)
gate_option = partial(typer.Option, rich_help_panel=GATES)
model_option = partial(typer.Option, rich_help_panel=MODEL)


Ckpt = Annotated[
    Path,
    typer.Argument(
        metavar="CKPT", help="Path of a checkpoint, of a step, or of a run's directory.", show_default=False
    ),
]
Force = Annotated[bool, output_option("--force", "-f", help="Overwrite an output that is a checkpoint.")]
Device = Annotated[
    Literal["cpu", "gpu", "tpu"] | None, how_option(help="Device to run on.", show_default="JAX's choice")
]
Precision = Annotated[
    Literal["float32", "bfloat16"], how_option(help="Precision of matmuls and activations; states stay float32.")
]
Unstable = Annotated[bool, model_option("--allow-unstable", help="Proceed despite unstable poles (|λ| >= 1).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, hints or summaries.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show how the result came about, and the traceback of an error.")
]


@options
class Amount:
    """How much is removed: by one of the first five."""

    ratio: Annotated[
        float | None,
        remove_option(help="Share of all states to remove, in [0, 1)."),
    ] = None
    max_drop: Annotated[
        float | None,
        remove_option(help="Choose the largest ratio that loses at most this many points on the validation split."),
    ] = None
    max_increase: Annotated[
        float | None,
        remove_option(
            parser=share,
            metavar="SHARE",
            help="Choose the largest ratio that raises the perplexity of --task FILE.txt by at most this, such as 2%.",
        ),
    ] = None
    max_error: Annotated[
        float | None,
        remove_option(
            help="Choose the largest ratio whose relative squared error of the logits is at most this; no labels."
        ),
    ] = None
    keep: Annotated[
        Path | None,
        remove_option(
            metavar="FILE", help="Keep exactly the units that a JSON file lists, or that a pruned checkpoint kept."
        ),
    ] = None
    strict: Annotated[
        bool,
        remove_option(
            "--strict",
            help="With --max-error: one standard error more must fit; other budgets always judge their upper limit.",
        ),
    ] = False
    estimate: Annotated[
        bool,
        remove_option("--estimate", help="Judge the estimate of the loss, not its upper limit."),
    ] = False
    assume: Annotated[bool, remove_option("--assume", help="Search even where the configuration is a guess.")] = False


@options
class Scoring:
    """What a state's score is."""

    criterion: Annotated[
        str, remove_option(help="How units are scored; `last list criteria` describes them.", autocompletion=criteria)
    ] = "last"
    seed: Annotated[int, how_option(help="Seed of the criterion random and of synthetic inputs.")] = 0
    horizon: Annotated[
        int | None, how_option(help="Horizon, in steps, of the energy criterion.", show_default="the trained length")
    ] = None


@options
class Selection:
    """Which states go, given their scores and how many go."""

    scope: Annotated[
        Literal["global", "layer"] | None,
        remove_option(
            help="Rank all layers together (global), or each on its own.",
            show_default="global; layer for language models",
        ),
    ] = None
    min_states: Annotated[int, remove_option(help="Minimum states to keep per layer (0 allows none).")] = 1
    shape: Annotated[
        Literal["rectangular", "ragged"] | None,
        how_option(
            help="S4D: rectangular keeps as many states in every channel, so that arrays shrink; ragged does not.",
            show_default="rectangular; ragged with the criterion last-reference",
        ),
    ] = None


@options
class Units:
    """What is removed, and in which numbers."""

    target: Annotated[
        str | None,
        remove_option(
            metavar="NAME",
            help="Kind of units to remove: states, heads, weights, ...",
            autocompletion=targets,
            show_default="states",
        ),
    ] = None
    multiple_of: Annotated[
        int | None,
        remove_option(
            metavar="N",
            help="Language models: round the units kept per group up to a multiple of N.",
            show_default="8; 1 below 16 states",
        ),
    ] = None


@options
class Weights:
    """Which weights go, where it is them that go."""

    pattern: Annotated[
        str | None,
        remove_option(
            metavar="N:M",
            help="With --target weights: keep N of every M, such as 2:4, which is the ratio.",
            show_default="any place",
        ),
    ] = None
    modules: Annotated[
        str | None,
        remove_option(
            metavar="NAMES",
            help="With --target weights: which of in_proj,out_proj,mlp.",
            autocompletion=several_of(("in_proj", "out_proj", "mlp")),
            show_default="in_proj",
        ),
    ] = None


@options
class Way:
    """What becomes of the states that stay."""

    method: Annotated[
        str,
        how_option(
            help="reconstruct eliminates greedily and refits C; balanced finds new poles; see `last list methods`.",
            autocompletion=methods,
        ),
    ] = "criterion"
    refit: Annotated[bool, how_option("--refit", help="Refit C after the criterion's choice.")] = False
    masked: Annotated[bool, how_option("--masked", help="Keep all shapes; set B and C of removed states to zero.")] = (
        False
    )
    tune: Annotated[bool, how_option("--tune", help="Then train what stays, as `last tune` does.")] = False


@options
class Calibration:
    """The sequences to measure on."""

    calibration: Annotated[
        int | None,
        calibration_option(
            help="Number of unlabelled calibration sequences (windows of a text).", show_default="made without data"
        ),
    ] = None
    task: Annotated[
        str | None,
        calibration_option(
            help="Task whose validation split supplies them.", show_default="the trained one", autocompletion=tasks
        ),
    ] = None
    calibration_file: Annotated[
        Path | None,
        calibration_option(metavar="FILE", help="NPZ file with x (and lengths), or a text file, to use instead."),
    ] = None
    data_dir: Annotated[
        Path | None, calibration_option(help="Directory of the task's files.", show_default="$LAST_DATA_DIR")
    ] = None
    length: Annotated[
        int | None, calibration_option(help="Steps of sequences made without data.", show_default="the trained length")
    ] = None


@options
class BudgetCalibration(Calibration):
    """The same where the task is also what a budget is measured on."""

    task: Annotated[
        str | None,
        calibration_option(
            help="Task whose validation split supplies them, and measures --max-drop.",
            show_default="the trained one",
            autocompletion=tasks,
        ),
    ] = None


@options
class Output:
    """Where the pruned checkpoint goes, if anywhere."""

    output: Annotated[Path, output_option("--output", "-o", help="Path of the pruned checkpoint.")] = Path("pruned")
    drop: Annotated[
        list[str] | None,
        output_option(metavar="GLOB", help="Leave out matching entries, such as opt_state; repeatable."),
    ] = None
    dry_run: Annotated[bool, output_option("--dry-run", "-n", help="Report only; write nothing.")] = False
    force: Force = False


@options
class Data:
    """A task's sequences."""

    task: Annotated[
        str | None,
        evaluate_option(
            help="A task of `last list tasks`, an NPZ file with x, y (and lengths), or a text file.",
            show_default="the trained one",
            autocompletion=tasks,
        ),
    ] = None
    limit: Annotated[
        int | None, evaluate_option(help="Use only the first N sequences.", metavar="N", show_default="all")
    ] = None
    data_dir: Annotated[
        Path | None,
        evaluate_option(help="Directory of the task's files.", show_default="$LAST_DATA_DIR, else generated"),
    ] = None


@options
class Place:
    """Where a model runs."""

    batch_size: Annotated[
        int | None, how_option(min=1, help="Sequences per device and step.", show_default="1 on a CPU, otherwise 64")
    ] = None
    device: Device = None


@options
class Gates:
    """What the result is compared with, and what must hold for exit code 0."""

    baseline: Annotated[
        Path | None,
        gate_option(metavar="CKPT", help="Compare with this checkpoint on the same sequences."),
    ] = None
    min_accuracy: Annotated[float | None, gate_option(help="Exit 1 below this accuracy, as 0.6 or 60 (percent).")] = (
        None
    )
    max_drop: Annotated[float | None, gate_option(help="Exit 1 if accuracy drops by more percentage points.")] = None
    strict: Annotated[
        bool,
        gate_option("--strict", help="With --max-drop: judge the upper limit of the drop at 95 %."),
    ] = False
    max_perplexity: Annotated[float | None, gate_option(help="Exit 1 above this perplexity per token.")] = None
    max_increase: Annotated[
        float | None,
        gate_option(parser=share, metavar="SHARE", help="Exit 1 if perplexity grows by more, such as 2%."),
    ] = None
    assume: Annotated[bool, gate_option("--assume", help="Judge even where the configuration is a guess.")] = False


@options
class Model:
    """What a checkpoint may not say of its SSM layers, and of the network around them."""

    discretization: Annotated[
        Literal["zoh", "bilinear", "dirac"] | None,
        model_option(help="Discretisation of the continuous system.", show_default=TELLS),
    ] = None
    clip_eigs: Annotated[
        bool | None,
        model_option("--clip-eigs/--no-clip-eigs", help="Whether real parts are clipped at -1e-4.", show_default=TELLS),
    ] = None
    conj_sym: Annotated[
        bool | None,
        model_option(
            "--conj-sym/--no-conj-sym", help="Whether each stored state is a conjugate pair.", show_default=TELLS
        ),
    ] = None
    step_rescale: Annotated[
        float | None, model_option(help="Factor applied to all step sizes.", show_default=TELLS)
    ] = None
    activation: Annotated[
        Literal["full_glu", "half_glu1", "half_glu2", "gelu"] | None,
        model_option(help="Output activation (GLU variant) of each block.", show_default=TELLS),
    ] = None
    prenorm: Annotated[
        bool | None,
        model_option(
            "--prenorm/--postnorm", help="Normalise before (pre) or after (post) each block.", show_default=TELLS
        ),
    ] = None
    mode: Annotated[
        Literal["pool", "last"] | None,
        model_option(help="Classify the mean over time (pool), or the last step.", show_default=TELLS),
    ] = None
    padded: Annotated[
        bool | None,
        model_option(
            "--padded/--no-padded",
            help="Average over each sequence's own length, or over all steps.",
            show_default=TELLS,
        ),
    ] = None
    preset: Annotated[
        str | None,
        model_option(help="Published configuration, such as s5-lra-listops.", autocompletion=presets),
    ] = None
    config_from: Annotated[
        Path | None,
        model_option(metavar="CKPT", help="Take the configuration of this checkpoint, .yaml or .json file."),
    ] = None


@options
class Step:
    """Which part of a run's directory is read."""

    step: Annotated[int | None, typer.Option(help="Step of a run to read.", show_default="the latest")] = None
    item: Annotated[
        str | None, typer.Option(help="Item of a step to read.", show_default="the one with SSM layers")
    ] = None


@options
class Told:
    """How much is told beside the result."""

    quiet: Quiet = False
    verbose: Verbose = False


@options
class General(Told):
    """What every command takes that shows a result."""

    form: Annotated[Format, typer.Option("--format", help="Output format.")] = "table"


@options
class Reported(General):
    """What one takes that writes nothing else."""

    report: Report = None


@options
class Gated(Told):
    """What one takes whose result is a yes or a no."""

    form: Annotated[GateFormat, typer.Option("--format", help="Output format.")] = "table"
    report: GateReport = None
