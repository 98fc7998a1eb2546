"""The figure of scores: poles in the unit disc coloured by score, and the states kept in each layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import last_cli.display.escape as escape
from last_cli.display.figures.figure import COLOUR, figure
from last_cli.results.score import ScoreReport

SIZE = (7.6, 3.5)


def draw_scores(report: ScoreReport, path: Path) -> None:
    """Write the figure of a score report; with a ratio, removed states are drawn hollow.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.patches import Circle

    poles = np.concatenate([layer.norms.poles[layer.live] for layer in report.layers if layer.norms])
    scores = np.concatenate([layer.scores[layer.live] for layer in report.layers]).astype(float)
    keep = np.concatenate([(layer.live if layer.keep is None else layer.keep)[layer.live] for layer in report.layers])
    colour = np.log10(np.clip(scores, scores[scores > 0].min(initial=1.0), None))
    with figure(path, SIZE, ncols=2, width_ratios=(1, 1.1)) as (made, (disc, bars)):
        disc.add_patch(Circle((0, 0), 1, fill=False, color="0.6", lw=0.8))
        size = float(np.clip(4000 / max(len(poles), 1), 3, 28))
        removed = disc.scatter(*_xy(poles[~keep]), s=size, facecolors="none", edgecolors="0.6", linewidths=0.7)
        points = disc.scatter(*_xy(poles[keep]), c=colour[keep], s=size, cmap="viridis")
        removed.set_zorder(1)
        made.colorbar(points, ax=disc, label=f"log10 {report.criterion} score", shrink=0.8)
        disc.set(aspect="equal", xlabel="Re λ", ylabel="Im λ", title="discretised poles")
        disc.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08))
        names = [escape.label(layer.name) for layer in report.layers]
        rows = np.arange(len(names))
        bars.barh(rows, [layer.states for layer in report.layers], color="0.88", label="states")
        if report.ratio is not None:
            kept = [layer.kept or 0 for layer in report.layers]
            bars.barh(rows, kept, color=COLOUR, label=f"kept at ratio {report.ratio:g}")
            bars.bar_label(bars.containers[-1], padding=3)
        bars.set(yticks=rows, yticklabels=names, xlabel="states", title="states per layer")
        bars.invert_yaxis()
        bars.legend(loc="lower center", bbox_to_anchor=(0.5, -0.28), ncols=2, frameon=False)


def _xy(poles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.real(poles), np.imag(poles)
