"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["table", "json", "csv", "md"]
Scope = Literal["global", "layer"]
Shape = Literal["ragged", "rectangular"]
Discretization = Literal["zoh", "bilinear"]

Ckpt = Annotated[
    Path, typer.Argument(metavar="CKPT", help="A checkpoint, a step, or a run's directory.", show_default=False)
]
RatioOption = Annotated[
    float | None, typer.Option("--ratio", help="Share of all states to remove, in [0, 1).", show_default="none")
]
MaxDrop = Annotated[
    float | None,
    typer.Option("--max-drop", help="Instead: points that --task may lose on validation data.", show_default="none"),
]
MaxError = Annotated[
    float | None,
    typer.Option("--max-error", help="Instead: relative squared error of the logits, no labels.", show_default="none"),
]
Strict = Annotated[bool, typer.Option("--strict", help="One standard error more must fit as well.", show_default="no")]
FormatOption = Annotated[Format, typer.Option("--format", help="Form of the output on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, hints or summaries.", show_default="no")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.", show_default="no")]
Step = Annotated[int | None, typer.Option(help="Which step of a run.", show_default="newest committed")]
Item = Annotated[str | None, typer.Option(help="Which item of a step.", show_default="the one with SSM layers")]
TELLS = "what the checkpoint says, else assumed"
MODEL = "What a checkpoint may not say"
SEQUENCES = "Sequences to measure on"
Discretize = Annotated[
    Discretization | None, typer.Option(help="Discretisation.", show_default=TELLS, rich_help_panel=MODEL)
]
ClipEigs = Annotated[
    bool | None,
    typer.Option(
        "--clip-eigs/--no-clip-eigs", help="Real parts clipped at -1e-4.", show_default=TELLS, rich_help_panel=MODEL
    ),
]
ConjSym = Annotated[
    bool | None,
    typer.Option(
        "--conj-sym/--no-conj-sym", help="States are conjugate pairs.", show_default=TELLS, rich_help_panel=MODEL
    ),
]
Rescale = Annotated[
    float | None,
    typer.Option("--step-rescale", help="Factor on all step sizes.", show_default=TELLS, rich_help_panel=MODEL),
]
Preset = Annotated[
    str | None,
    typer.Option(help="A published configuration, such as s5-lra-listops.", show_default="none", rich_help_panel=MODEL),
]
Criterion = Annotated[str, typer.Option("--criterion", help="How states are scored: `last list criteria`.")]
ScopeOption = Annotated[Scope, typer.Option("--scope", help="Rank all layers together, or each alone.")]
MinStates = Annotated[int, typer.Option(help="States that every layer keeps at least; 0 may empty one.")]
Seed = Annotated[int, typer.Option(help="Seed of the criterion random, and of inputs made without data.")]
Horizon = Annotated[
    int | None, typer.Option(help="Steps that the criterion energy looks ahead.", show_default="the trained length")
]
Calibration = Annotated[
    int | None,
    typer.Option(help="How many, without labels.", show_default="made without data", rich_help_panel=SEQUENCES),
]
CalibrationTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Their task, and that of --max-drop: its val split.",
        show_default="the trained one",
        rich_help_panel=SEQUENCES,
    ),
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npz", help="Or a file of them: x, lengths.", show_default="none", rich_help_panel=SEQUENCES
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the task's files are.", show_default="$LAST_DATA_DIR", rich_help_panel=SEQUENCES),
]
ShapeOption = Annotated[Shape, typer.Option("--shape", help="S4D: rectangular keeps as many states in every channel.")]
Unstable = Annotated[
    bool, typer.Option("--allow-unstable", help="Go on with poles at or beyond the unit circle.", show_default="no")
]
Force = Annotated[
    bool, typer.Option("--force", "-f", help="Replace an output that is a checkpoint.", show_default="no")
]
