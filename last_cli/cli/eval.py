"""`last eval`."""

from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.completion import splits
from last_cli.cli.gates import expect_gates, fraction, tell_gates
from last_cli.cli.options import (
    Ckpt,
    Data,
    Gated,
    Gates,
    Model,
    Place,
    Precision,
    Step,
    evaluate_option,
    how_option,
)
from last_cli.cli.processes import Processes, join
from last_cli.cli.shared import load, show, tell, tell_assumed


@command(
    "last eval pruned/ --task listops --baseline ckpt/",
    "last eval ckpt/ --task listops --preset s5-lra-listops --limit 500",
    "last eval pruned/ --task listops --baseline ckpt/ --max-drop 0.5",
    "last eval ckpt/ --task pathx --resume",
    "last eval small/ --task a.txt --baseline base/ --max-increase 2%",
    name="eval",
)
def evaluate(
    ckpt: Ckpt,
    *,
    data: Data,
    split: Annotated[
        str, evaluate_option(help="Split of the task: test, val or train.", autocompletion=splits)
    ] = "test",
    window: Annotated[int | None, evaluate_option(help="Texts: tokens per window.", show_default="2048")] = None,
    stride: Annotated[
        int | None, evaluate_option(help="Texts: tokens from one window to the next.", show_default="the window")
    ] = None,
    place: Place,
    precision: Precision = "float32",
    resume: Annotated[
        bool,
        how_option("--resume", help="Resume an interrupted evaluation."),
    ] = False,
    gates: Gates,
    model: Model,
    processes: Processes,
    step: Step,
    general: Gated,
) -> None:
    """Measure accuracy or perplexity on a task, alone or against a baseline, with gates for CI."""
    from last_cli.display.eval import eval_view
    from last_cli.display.terminal import progress_bar

    limits = (gates.min_accuracy, gates.max_drop, gates.max_perplexity, gates.max_increase)
    expect_gates(general.form, general.report, limits)
    reports = join(processes, place.device)
    quiet = general.quiet or not reports
    checkpoint = load(ckpt, quiet, **vars(step), **vars(model))
    other = load(gates.baseline, quiet, item=step.item, **vars(model)) if gates.baseline else None
    with progress_bar(quiet) as progress:
        result = last.evaluate(
            checkpoint,
            **vars(data),
            **vars(place),
            split=split,
            window=window,
            stride=stride,
            precision=precision,
            baseline=other,
            min_accuracy=fraction(gates.min_accuracy),
            max_drop=gates.max_drop,
            strict=gates.strict,
            max_perplexity=gates.max_perplexity,
            max_increase=gates.max_increase,
            assume=gates.assume,
            resume=resume,
            progress=progress,
            tell=lambda line, kind: tell(line, quiet, kind),
        )
    if not reports:
        raise typer.Exit(0 if result.passed else 1)
    tell_assumed(result.assumed, quiet)
    view = eval_view(result)
    show(view, general, result.doubts)
    tell_gates(view.gates, quiet)
    if not result.passed:
        raise typer.Exit(1)
