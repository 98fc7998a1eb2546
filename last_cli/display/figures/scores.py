"""The figure of scores: for each layer its poles in the unit disc, coloured by score, and the states kept."""

from __future__ import annotations

import io
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

import last_cli.display.escape as escape
from last_cli.display.figures.figure import COLOUR, explain, figure, named
from last_cli.display.words import short_names
from last_cli.results.score import LayerScore, ScoreReport

COLUMNS, DISC = 4, 1.9
"""Discs in a row, and the inches of one."""

LOWEST = 0.02
"""The share of states that has the darkest colour: a single one far below the others would take all colours."""

MANY = 2000
"""More points than this are drawn as a picture, or an SVG would be megabytes."""


def draw_scores(report: ScoreReport, out: Path | io.BytesIO) -> None:
    """Write the figure of a score report; with a ratio, removed states are drawn hollow.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = min(COLUMNS, len(report.layers))
    rows, height = ceil(len(report.layers) / columns), 0.5 + 0.22 * len(report.layers)
    places = [[f"disc {row * columns + i}" for i in range(columns)] for row in range(rows)]
    layout = [*places, ["bars"] * columns]
    size = (max(DISC * columns, 4.8) + 0.9, DISC * rows + height + 1.3)
    ratios, hollow = [DISC] * rows + [height], "; hollow: removed" if report.ratio is not None else ""
    with figure(out, size, mosaic=layout, height_ratios=ratios) as (made, axes):
        limits = _range(report)
        drawn = [
            _disc(axes[f"disc {i}"], layer, name, limits)
            for i, (layer, name) in enumerate(zip(report.layers, _names(report), strict=True))
        ]
        for i in range(len(report.layers), rows * columns):
            axes[f"disc {i}"].set_axis_off()
        discs = [axes[f"disc {i}"] for i in range(len(report.layers))]
        made.colorbar(drawn[0], ax=discs, label=f"log10 {report.criterion} score", shrink=0.8, aspect=30, extend="min")
        _bars(axes["bars"], report)
        n = f"n = {report.states:,} {report.target}"
        made.suptitle(f"{named(report.checkpoint)}: discretised poles, {n}", fontsize=9)
        explain(made, f"circle: |λ| = 1; colour: score by {report.criterion}{hollow}")


def _names(report: ScoreReport) -> list[str]:
    return [escape.label(name) for name in short_names([layer.name for layer in report.layers])]


def _range(report: ScoreReport) -> tuple[float, float]:
    """Of the logarithms of all scores, so that colours compare between layers."""
    found = np.concatenate([layer.scores[layer.live] for layer in report.layers]).astype(float)
    positive = found[found > 0]
    if not positive.size:
        return 0.0, 1.0
    return float(np.log10(np.quantile(positive, LOWEST))), float(np.log10(positive.max()))


def _disc(axes: Any, layer: LayerScore, name: str, limits: tuple[float, float]) -> Any:
    """The poles of one layer; what its colours mean is returned."""
    from matplotlib.patches import Circle

    assert layer.norms is not None
    live = layer.live
    poles, scores = layer.norms.poles[live], layer.scores[live].astype(float)
    keep = (live if layer.keep is None else layer.keep)[live]
    colour = np.clip(np.log10(np.clip(scores, 10.0 ** limits[0], None)), *limits)
    size, many = float(np.clip(1500 / max(len(poles), 1), 2, 22)), len(poles) > MANY
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6", lw=0.8))
    hollow = {"facecolors": "none", "edgecolors": "0.6", "linewidths": 0.6, "zorder": 1, "rasterized": many}
    axes.scatter(*_xy(poles[~keep]), s=size, **hollow)
    shown = {"c": colour[keep], "cmap": "viridis", "vmin": limits[0], "vmax": limits[1], "rasterized": many}
    points = axes.scatter(*_xy(poles[keep]), s=size, **shown)
    axes.set(aspect="equal", title=name, xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    axes.tick_params(labelsize=6)
    return points


def _bars(axes: Any, report: ScoreReport) -> None:
    """The states of each layer, and those kept."""
    rows = np.arange(len(report.layers))
    axes.barh(rows, [layer.states for layer in report.layers], color="0.88", label=report.target)
    if report.ratio is not None:
        kept = axes.barh(
            rows, [layer.kept or 0 for layer in report.layers], color=COLOUR, label=f"kept at ratio {report.ratio:g}"
        )
        axes.bar_label(kept, padding=3, fontsize=7)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2, frameon=False)
    axes.set(yticks=rows, yticklabels=_names(report), xlabel=f"{report.target} per layer")
    axes.invert_yaxis()


def _xy(poles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.real(poles), np.imag(poles)
