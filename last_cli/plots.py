"""Figures: poles in the unit disc coloured by score with the states kept in each layer, and benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from last_cli.benchmarking import BenchReport
from last_cli.errors import OutputError, UsageError
from last_cli.results import ScoreReport

SUFFIXES = (".svg", ".png", ".pdf")
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 8,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.hashsalt": "last",  # the same figure is the same file
}


def check(path: Path) -> None:
    """Before any work: raises UsageError where the figure could not be drawn, named so, or put there."""
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: expected a name that ends with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
            "for example --plot figure.svg",
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}", f"make it: mkdir -p {path.parent}")
    if not available():
        raise UsageError("--plot needs matplotlib, which is not installed", "pip install 'last-cli[plot]'")


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


@contextmanager
def figure(path: Path, size: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """A figure of one pair of axes, `size` in inches, to draw on; written when the block ends.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context(STYLE):
        made, axes = plt.subplots(figsize=size, layout="constrained")
        try:
            yield made, axes
            made.savefig(path, dpi=300, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise _unwritable(path, error) from error
        finally:
            plt.close(made)


def draw_scores(report: ScoreReport, path: Path) -> None:
    """Write the figure of a score report; with a ratio, removed states are drawn hollow.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle

    figure, (disc, bars) = plt.subplots(1, 2, figsize=(10, 4.6), width_ratios=(1, 1.1), layout="constrained")
    poles = np.concatenate([layer.poles[layer.live] for layer in report.layers])
    scores = np.concatenate([layer.score[layer.live] for layer in report.layers]).astype(float)
    keep = np.concatenate([(layer.live if layer.keep is None else layer.keep)[layer.live] for layer in report.layers])
    colour = np.log10(np.clip(scores, scores[scores > 0].min(initial=1.0), None))
    disc.add_patch(Circle((0, 0), 1, fill=False, color="0.6", lw=0.8))
    size = float(np.clip(4000 / max(len(poles), 1), 3, 28))
    removed = disc.scatter(*_xy(poles[~keep]), s=size, facecolors="none", edgecolors="0.6", linewidths=0.7)
    points = disc.scatter(*_xy(poles[keep]), c=colour[keep], s=size, cmap="viridis")
    removed.set_zorder(1)
    figure.colorbar(points, ax=disc, label=f"log10 {report.criterion} score", shrink=0.8)
    disc.set(aspect="equal", xlabel="Re λ", ylabel="Im λ", title="discretised poles")
    disc.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08))
    names = [layer.name for layer in report.layers]
    rows = np.arange(len(names))
    bars.barh(rows, [layer.states for layer in report.layers], color="0.88", label="states")
    if report.ratio is not None:
        kept = [layer.kept or 0 for layer in report.layers]
        bars.barh(rows, kept, color="#3b6ea5", label=f"kept at ratio {report.ratio:g}")
        bars.bar_label(bars.containers[-1], padding=3)
    bars.set(yticks=rows, yticklabels=names, xlabel="states", title="states per layer")
    bars.invert_yaxis()
    bars.legend(loc="lower center", bbox_to_anchor=(0.5, -0.28), ncols=2, frameon=False)
    bars.spines[["top", "right"]].set_visible(False)
    _write(figure, path)


def draw_bench(report: BenchReport, path: Path) -> None:
    """Write the figure of a benchmark: latencies as boxes (quartiles) with their range, and peak memory.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [PurePath(timing.checkpoint.path).name for timing in report.timings]
    height = 1.8 + 0.4 * len(names)
    figure, (times, memory) = plt.subplots(1, 2, figsize=(10, height), width_ratios=(1.6, 1), layout="constrained")
    rows = np.arange(len(names))
    milliseconds = [1000 * timing.seconds for timing in report.timings]
    times.boxplot(milliseconds, positions=rows, orientation="horizontal", whis=(0, 100), widths=0.5)
    times.set(yticks=rows, yticklabels=names, xlabel="ms a batch")
    times.set(title=f"{report.batch} sequences of {report.length:,} steps, {report.precision}")
    peaks = [timing.peak_bytes / 1e6 for timing in report.timings]
    memory.bar_label(memory.barh(rows, peaks, color="#3b6ea5", height=0.5), fmt="%.0f", padding=3)
    memory.set(yticks=rows, yticklabels=[], xlabel="MB", title="peak memory")
    memory.margins(x=0.15)
    times.set_xlim(left=0)
    for axes in (times, memory):
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(report.device, fontsize="small", color="0.4")
    _write(figure, path)


def _write(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    try:
        figure.savefig(path, dpi=160)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        plt.close(figure)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: the figure cannot be written: {error.strerror}", "choose another place")


def _xy(poles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.real(poles), np.imag(poles)
