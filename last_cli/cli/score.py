"""`last score`."""

from pathlib import Path
from typing import Annotated

import last_cli as last
from last_cli.base.errors import UsageError
from last_cli.cli.app import command
from last_cli.cli.completion import layers
from last_cli.cli.options import (
    Calibration,
    Ckpt,
    Model,
    Reported,
    Scoring,
    Selection,
    Step,
    Units,
    Unstable,
    output_option,
    remove_option,
)
from last_cli.cli.shared import check_plot, load, show, tell, tell_assumed, tell_needed, tell_offer


@command(
    "last score ckpt/",
    "last score ckpt/ --ratio 0.33 --plot poles.svg",
    "last score runs/ --step 900 --per-state --format csv > states.csv",
)
def score(
    ckpt: Ckpt,
    *,
    ratio: Annotated[float | None, remove_option(help="Also show which units stay at this ratio.")] = None,
    scoring: Scoring,
    selection: Selection,
    units: Units,
    calibration: Calibration,
    layer: Annotated[
        str | None,
        output_option(
            metavar="GLOB", help="Show only layers whose name matches.", show_default="all", autocompletion=layers
        ),
    ] = None,
    per_state: Annotated[bool, output_option("--per-state", help="One row per state.")] = False,
    per_unit: Annotated[
        bool, output_option("--per-unit", help="One row per unit; in JSON, lists of the units' own shape.")
    ] = False,
    plot: Annotated[
        Path | None, output_option(help="Draw poles and kept states into this .svg, .png or .pdf file.")
    ] = None,
    model: Model,
    allow_unstable: Unstable = False,
    step: Step,
    general: Reported,
) -> None:
    """Show H-infinity norms and scores of every state, one row per layer."""
    from last_cli.display.score import score_view
    from last_cli.display.terminal import progress_bar
    from last_cli.pruning.select import removing

    if plot is not None:
        check_plot(plot)
    checkpoint = load(ckpt, general.quiet, **vars(step), **vars(model))
    if plot is not None:
        _check_poles(checkpoint, units.target)
    with progress_bar(general.quiet) as progress:
        result = last.score(
            checkpoint,
            ratio=ratio,
            layer=layer,
            **vars(scoring),
            **vars(selection),
            **vars(units),
            **vars(calibration),
            allow_unstable=allow_unstable,
            progress=progress,
        )
    tell_assumed(result.assumed, general.quiet)
    tell_offer(checkpoint, result.assumed, general.quiet)
    tell_needed(result, general.quiet)
    show(score_view(result, per_state, per_unit), general, result.warnings)
    if plot is not None:
        from last_cli.display.figures.scores import draw_scores

        draw_scores(result, plot)
        tell(f"wrote {plot}", general.quiet)
    if ratio is None:
        usual = removing(checkpoint.layers[0].target(), checkpoint.layers)
        share = {0.33: "third", 0.5: "half"}.get(usual, "three quarters")
        tell(f"last prune {ckpt} --ratio {usual:g}   # removes the lowest {share}", general.quiet, "next")


def _check_poles(checkpoint: "last.Checkpoint", target: str | None) -> None:
    """Before the work: raises UsageError where the units have no poles to draw."""
    other = next((layer for layer in checkpoint.layers if layer.family.system is None), None)
    if other is not None or target not in (None, "states"):
        what = f"{other.name} is no linear system" if other else f"{target} have none"
        raise UsageError(
            f"⟦plot⟧ draws the poles of states, and {what}", "leave ⟦plot⟧ out; `last sweep` draws what any units cost"
        )
