"""The figure of a benchmark: latencies and peak memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

import last_cli.display.escape as escape
from last_cli.display.figures.figure import COLOUR, explain, figure, named
from last_cli.display.words import base_name
from last_cli.results.bench import BenchReport


def draw_bench(report: BenchReport, out: Path | io.BytesIO) -> None:
    """Write the figure of a benchmark: latencies as boxes (quartiles) with their range, and peak memory.

    Raises:
        OutputError: the file cannot be written.
    """
    names = [escape.label(base_name(timing.checkpoint.path)) for timing in report.timings]
    size = (7.6, 1.9 + 0.3 * len(names))
    with figure(out, size, ncols=2, width_ratios=(1.6, 1)) as (made, (times, memory)):
        rows = np.arange(len(names))
        milliseconds = [1000 * timing.latencies for timing in report.timings]
        times.boxplot(milliseconds, positions=rows, orientation="horizontal", whis=(0, 100), widths=0.5)
        times.set(yticks=rows, yticklabels=names, xlabel="ms per batch")
        times.set(title=f"{report.batch} sequences of {report.length:,} steps, {report.precision}")
        peaks = [timing.peak_bytes / 1e6 for timing in report.timings]
        memory.bar_label(memory.barh(rows, peaks, color=COLOUR, height=0.5), fmt="%.0f", padding=3)
        memory.set(yticks=rows, yticklabels=[], xlabel="MB", title="peak memory")
        memory.margins(x=0.15)
        times.set_xlim(left=0)
        for axes in (times, memory):
            axes.set_ylim(len(names) - 0.4, -0.6)
        first = named(report.timings[0].checkpoint)
        made.suptitle(f"baseline {first}, n = {report.repeat} batches, {escape.label(report.device)}", fontsize=9)
        explain(made, "box: quartiles and median of the latency; whiskers: its range")
