"""What `last bench` shows."""

from __future__ import annotations

from last_cli.display.sheet import Format, Sheet, show_sheet
from last_cli.display.words import base_name, byte_size, number
from last_cli.results.bench import BenchReport, Timing


def show_bench(report: BenchReport, form: Format) -> None:
    """A row a checkpoint, with the ratios to the first."""
    data = report.as_json()
    if form == "csv":
        rows = [_flat(row) for row in data["results"]]
        show_sheet(Sheet(list(rows[0]), [list(map(str, row.values())) for row in rows]), data, form)
        return
    columns = ["", "parameters", "compile s", "median ms", "quartiles", "range", "sequences/s", "speed"]
    columns += ["program", "peak memory"]
    rows = [_row(timing, ratios["ratios"]) for timing, ratios in zip(report.timings, data["results"], strict=True)]
    show_sheet(Sheet(columns, rows, drop=(5, 2, 1, 4)), data, form)


def bench_summary(report: BenchReport) -> str:
    """On what it was measured."""
    return (
        f"{report.repeat} batches of {report.batch} random sequences of length {report.length:,} on {report.device}, "
        f"{report.precision}, the checkpoints in turns; ratios are to {report.timings[0].checkpoint.path}"
    )


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


def _flat(row: dict[str, object]) -> dict[str, object]:
    """One level of names, without the list of all latencies."""
    flat: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{key}": item for key, item in value.items()}
        elif not isinstance(value, list):
            flat[name] = "" if value is None else value
    return flat
