"""`last prune`."""

from dataclasses import replace
from typing import Annotated

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.gates import annotated
from last_cli.cli.options import (
    Amount,
    BudgetCalibration,
    Ckpt,
    General,
    Model,
    Output,
    Scoring,
    Selection,
    Step,
    Units,
    Unstable,
    Way,
    Weights,
    how_option,
)
from last_cli.cli.shared import load, show, tell, tell_assumed, tell_needed, tell_offer


@command(
    "last prune ckpt/ --ratio 0.33",
    "last prune ckpt/ --ratio 0.5 --criterion aire -o small",
    "last prune ckpt/ --ratio 0.6 --method reconstruct --calibration 256",
    "last prune ckpt/ --max-drop 0.5 --task listops --method reconstruct",
)
def prune(
    ckpt: Ckpt,
    *,
    amount: Amount,
    way: Way,
    scoring: Scoring,
    selection: Selection,
    units: Units,
    weights: Weights,
    calibration: BudgetCalibration,
    stock: Annotated[
        bool, how_option("--stock", help="Pad unequal layers with zeros so that stock classes load them.")
    ] = False,
    output: Output,
    model: Model,
    allow_unstable: Unstable = False,
    step: Step,
    general: General,
) -> None:
    """Remove the states that matter least and write a smaller checkpoint. The input is never touched."""
    from last_cli.checkpoint.network import runs
    from last_cli.display.prune import prune_hints, prune_view
    from last_cli.display.terminal import progress_bar
    from last_cli.formats import check_output

    quiet, out = general.quiet, output.output
    checkpoint = load(ckpt, quiet, **vars(step), **vars(model))
    if not output.dry_run:
        check_output(out, source=checkpoint.index, force=output.force)
    with annotated(ckpt), progress_bar(quiet) as progress:
        small = last.prune(
            checkpoint,
            **vars(amount),
            **vars(way),
            **vars(scoring),
            **vars(selection),
            **vars(units),
            **vars(weights),
            **vars(calibration),
            stock=stock,
            allow_unstable=allow_unstable,
            drop=output.drop,
            progress=progress,
        )
    result = small.report
    assert result is not None
    if not output.dry_run:
        last.save(small, out, force=output.force)
    tell_assumed(result.assumed, quiet)
    tell_offer(checkpoint, result.assumed, quiet)
    tell_needed(result, quiet)
    show(prune_view(replace(result, output=None if output.dry_run else str(out))), general, result.warnings)
    for hint in prune_hints(result):
        tell(hint, quiet, "hint")
    if output.dry_run:
        tell("dry run: nothing was written", quiet)
    else:
        judged = small.task_name or "TASK"
        tell(f"wrote {out}", quiet, "ok")
        evaluation = f"last eval {out} --task {judged} --baseline {ckpt}"
        tell(evaluation if runs(small) else f"last verify {out} --against {ckpt}", quiet, "next")
