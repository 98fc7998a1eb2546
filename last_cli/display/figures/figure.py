"""A figure to draw on, in one style for all of them, and whether it can be had at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import last_cli.display.escape as escape
from last_cli.base.errors import OutputError, UsageError
from last_cli.base.unbroken import unbroken
from last_cli.display.words import base_name
from last_cli.results.source import Source

SUFFIXES = (".svg", ".png", ".pdf")
COLOUR, GREY = "#0072B2", "#7F7F7F"
# Okabe and Ito's palette, which colour-blind readers can tell apart; markers tell the lines apart in print.
COLOURS = (COLOUR, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "P", "X", "<")
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
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
            "for example ⟦plot figure.svg⟧",
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}", f"create it first: mkdir -p {path.parent}")
    if not available():
        raise UsageError("⟦plot⟧ needs matplotlib, which is not installed", "pip install matplotlib")


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def named(source: Source) -> str:
    """Which checkpoint a figure is about: its name, and the start of its digest."""
    return escape.label(f"{base_name(source.path)} ({source.digest.removeprefix('sha256:')[:8]})")


def explain(made: Any, text: str) -> None:
    """A line below a figure: what its marks are."""
    made.supxlabel(text, fontsize=6.5, color="0.35", x=0.01, ha="left")


@contextmanager
def figure(out: Path | io.BytesIO, size: tuple[float, float], **grid: Any) -> Iterator[tuple[Any, Any]]:
    """A figure, `size` in inches, and its axes to draw on, one pair or as `grid` says; written when the block ends.

    Args:
        out: a file's path, or an open file, which gets SVG.
        size: width and height.
        grid: see matplotlib's `subplots`, or with a `mosaic` its `subplot_mosaic`.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure  # pyplot would take over a notebook's figures

    form = out.suffix.removeprefix(".") if isinstance(out, Path) else "svg"
    with mpl.rc_context(STYLE):
        made = Figure(figsize=size, layout="constrained")
        axes = made.subplot_mosaic(**grid) if "mosaic" in grid else made.subplots(**grid)
        try:
            yield made, axes
            drawn = io.BytesIO() if isinstance(out, Path) else out
            made.savefig(drawn, format=form, dpi=300, metadata={"Date": None} if form == "svg" else None)
            if isinstance(out, Path):
                with unbroken():
                    out.write_bytes(drawn.getvalue())
        except OSError as error:
            raise OutputError(
                f"{out}: the figure cannot be written: {error.strerror}", "choose another place"
            ) from error
