"""`last eval`."""

import os
import sys
from typing import Annotated

import typer

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import (
    Ckpt,
    Data,
    Gates,
    General,
    Model,
    Place,
    Precision,
    Processes,
    Step,
    evaluate_option,
    how_option,
)
from last_cli.cli.shared import load, tell, tell_all, tell_assumed


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
    split: Annotated[str, evaluate_option(help="test, val or train.")] = "test",
    window: Annotated[
        int | None, evaluate_option(help="Texts: tokens that are read at most.", show_default="2048")
    ] = None,
    stride: Annotated[
        int | None, evaluate_option(help="Texts: tokens from window to window.", show_default="the window")
    ] = None,
    place: Place,
    precision: Precision = "float32",
    resume: Annotated[
        bool,
        how_option("--resume", help="Go on where an interrupted run of this stopped.", show_default="no"),
    ] = False,
    gates: Gates,
    model: Model,
    processes: Processes,
    step: Step,
    general: General,
) -> None:
    """Accuracy or perplexity on a task's split, and against a baseline; gates for CI."""
    from last_cli.display.escape import annotation
    from last_cli.display.eval import eval_summary, gate_lines, show_eval
    from last_cli.display.terminal import progress_bar

    reports = _join(processes, place.device)
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
            min_accuracy=_fraction(gates.min_accuracy),
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
    show_eval(result, general.form)
    tell_all(result.doubts, "warning")
    tell(eval_summary(result), quiet)
    for line, passed in gate_lines(result):
        tell(line, quiet and passed, "ok" if passed else "error")
        if not passed and os.environ.get("GITHUB_ACTIONS") == "true":
            sys.stderr.write(f"::error::{annotation(line)}\n")
    if not result.passed:
        raise typer.Exit(1)


def _join(others: Processes, device: str | None) -> bool:
    """Join the other processes, where there are any; returns whether this one reports."""
    if not others.distributed and (others.coordinator, others.processes, others.process_id) == (None, None, None):
        return True
    from last_cli.evaluation import processes as hosts

    return hosts.connect(
        others.coordinator, others.processes, others.process_id, device=device, timeout=others.connect_timeout
    )


def _fraction(accuracy: float | None) -> float | None:
    """60 means 60 percent, as 0.6 does."""
    return accuracy / 100 if accuracy is not None and accuracy > 1 else accuracy
