"""`last score`."""

from pathlib import Path
from typing import Annotated

import last_cli as last
from last_cli.cli.app import command
from last_cli.cli.options import (
    Calibration,
    Ckpt,
    General,
    Model,
    Scoring,
    Selection,
    Step,
    Units,
    Unstable,
    output_option,
    remove_option,
)
from last_cli.cli.shared import check_plot, load, tell, tell_all, tell_assumed, tell_needed, tell_offer


@command(
    "last score ckpt/",
    "last score ckpt/ --ratio 0.33 --plot poles.svg",
    "last score runs/ --step 900 --per-state --format csv > states.csv",
)
def score(
    ckpt: Ckpt,
    *,
    ratio: Annotated[float | None, remove_option(help="Show what stays at this ratio.", show_default="none")] = None,
    scoring: Scoring,
    selection: Selection,
    units: Units,
    calibration: Calibration,
    layer: Annotated[
        str | None, output_option(help="Only layers whose name matches this glob.", show_default="all")
    ] = None,
    per_state: Annotated[bool, output_option("--per-state", help="A row a state.", show_default="no")] = False,
    per_unit: Annotated[
        bool, output_option("--per-unit", help="The same, in JSON in the units' own shape.", show_default="no")
    ] = False,
    plot: Annotated[
        Path | None, output_option(help="Draw poles and kept states: .svg, .png or .pdf.", show_default="no")
    ] = None,
    model: Model,
    allow_unstable: Unstable = False,
    step: Step,
    general: General,
) -> None:
    """H-infinity norms and scores of every state, a row a layer."""
    from last_cli.display.score import show_score
    from last_cli.display.terminal import progress_bar
    from last_cli.pruning.select import removing

    if plot is not None:
        check_plot(plot)
    checkpoint = load(ckpt, general.quiet, **vars(step), **vars(model))
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
    show_score(result, general.form, per_state, per_unit)
    tell_all(result.warnings, "warning")
    if plot is not None:
        from last_cli.display.figures.scores import draw_scores

        draw_scores(result, plot)
        tell(f"wrote {plot}", general.quiet)
    if ratio is None:
        usual = removing(checkpoint.layers[0].target(), checkpoint.layers)
        share = {0.33: "third", 0.5: "half"}.get(usual, "three quarters")
        tell(f"last prune {ckpt} --ratio {usual:g}   # removes the lowest {share}", general.quiet, "next")
