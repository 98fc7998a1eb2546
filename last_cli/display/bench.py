"""What `last bench` shows."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

from last_cli.display.sheet import Sheet
from last_cli.display.view import Record, View
from last_cli.display.words import base_name, byte_size, number
from last_cli.results.bench import BenchReport, Timing


def bench_view(report: BenchReport) -> View:
    """One row per checkpoint, with the ratios to the first."""
    data = report.as_json()
    columns = ["", "parameters", "compile (s)", "latency (ms)", "quartiles (ms)", "range (ms)", "sequences/s", "speed"]
    columns += ["program memory", "peak memory"]
    rows = [_row(timing, ratios["ratios"]) for timing, ratios in zip(report.timings, data["results"], strict=True)]
    first = base_name(report.timings[0].checkpoint.path)
    return View(
        title=f"last bench {first}",
        data=data,
        sheets=[Sheet(columns, rows, drop=(5, 2, 1, 4), names={0: "checkpoint"})],
        records=lambda: [_record(row) for row in data["results"]],
        lines=[_summary(report)],
        draw=partial(_draw, report),
    )


def _summary(report: BenchReport) -> str:
    """On what it was measured."""
    return (
        f"{report.repeat} batches of {report.batch} random sequences of length {report.length:,} on {report.device}, "
        f"{report.precision}, the checkpoints in turns; latencies are medians, ratios are to "
        f"{report.timings[0].checkpoint.path}"
    )


def _draw(report: BenchReport, out: Path | io.BytesIO) -> None:
    from last_cli.display.figures.bench import draw_bench

    draw_bench(report, out)


def _row(timing: Timing, ratios: dict[str, float]) -> list[str]:
    ms = {name: number(1000 * value, 4) for name, value in vars(timing.latency).items()}
    return [
        base_name(timing.checkpoint.path),
        f"{timing.parameters:,}",
        f"{timing.compile_seconds:.2f}",
        ms["median"],
        f"{ms['q1']} to {ms['q3']}",
        f"{ms['min']} to {ms['max']}",
        f"{timing.sequences_per_second:,.0f}"
        if timing.sequences_per_second >= 10
        else number(timing.sequences_per_second),
        f"{ratios['speed']:.2f}x",
        f"{byte_size(timing.program_bytes)} ({ratios['program_bytes']:.2f}x)",
        f"{byte_size(timing.peak_bytes)} ({ratios['peak_bytes']:.2f}x)",
    ]


def _record(row: Record) -> Record:
    """A row of CSV: without the list of all latencies."""
    return {name: value for name, value in row.items() if not isinstance(value, list)}
