"""A figure to draw on, in one style for all of them, and whether it can be had at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from last_cli.base.errors import OutputError, UsageError

SUFFIXES = (".svg", ".png", ".pdf")
COLOUR = "#0072B2"
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
            "for example ⟦plot figure.svg⟧",
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}", f"create it first: mkdir -p {path.parent}")
    if not available():
        raise UsageError("⟦plot⟧ needs matplotlib, which is not installed", "pip install matplotlib")


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


@contextmanager
def figure(path: Path, size: tuple[float, float], **grid: Any) -> Iterator[tuple[Any, Any]]:
    """A figure, `size` in inches, and its axes to draw on, one pair or as `grid` says; written when the block ends.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context(STYLE):
        made, axes = plt.subplots(figsize=size, layout="constrained", **grid)
        try:
            yield made, axes
            made.savefig(path, dpi=300, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise OutputError(
                f"{path}: the figure cannot be written: {error.strerror}", "choose another place"
            ) from error
        finally:
            plt.close(made)
