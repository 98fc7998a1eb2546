"""What `last score` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from last_cli.display.sheet import Format, Sheet, write_csv, write_json, write_sheet
from last_cli.display.words import number, short_names
from last_cli.results.score import LayerScore, ScoreReport


def show_score(report: ScoreReport, form: Format, per_state: bool) -> None:
    """`last score`: a row a layer, or a row a state."""
    if form == "json":
        return write_json(report.as_json(per_state))
    if form == "csv":
        return write_csv(*_states_of(report))
    sheet = _states_sheet(report) if per_state else _score_sheet(report)
    return write_sheet(sheet, form)


def _score_sheet(report: ScoreReport) -> Sheet:
    kept = report.ratio is not None
    names = short_names([layer.name for layer in report.layers])
    columns = ["layer", "states", *(["kept"] if kept else [])]
    columns += ["H∞ min", "median", "max", f"{report.criterion.upper()} min", "median", "max", "max |λ|"]
    rows = []
    for name, layer in zip(names, report.layers, strict=True):
        hinf, score = layer.spread(layer.hinf), layer.spread(layer.score)
        share = [f"{layer.kept:,}"] if kept else []
        values = [*hinf.values(), *score.values()]
        peak = layer.abs_lambda[layer.live].max(initial=0.0)
        rows.append([name, f"{layer.states:,}", *share, *map(number, values), f"{peak:.5f}"])
    total = ["total", f"{report.states:,}"]
    if kept:
        stay = sum(layer.kept or 0 for layer in report.layers)
        total.append(f"{stay:,}")
    last = len(columns) - 1
    return Sheet(columns, rows, [*total, *[""] * (len(columns) - len(total))], drop=(last - 1, last - 5, last - 2))


def _states_of(report: ScoreReport) -> tuple[list[str], list[list[Any]]]:
    columns = ["layer", "channel", "state", "hinf", "score", "abs_lambda"]
    if report.ratio is not None:
        columns.append("keep")
    return columns, [row for layer in report.layers for row in _layer_states(layer)]


def _layer_states(layer: LayerScore) -> Iterator[list[Any]]:
    for group, row in enumerate(layer.live):
        channel = group if len(layer.live) > 1 else ""
        for state in row.nonzero()[0].tolist():
            at = (group, state)
            values = [float(layer.hinf[at]), float(layer.score[at]), float(layer.abs_lambda[at])]
            keep = [] if layer.keep is None else [int(layer.keep[at])]
            yield [layer.name, channel, state, *values, *keep]


def _states_sheet(report: ScoreReport) -> Sheet:
    columns, rows = _states_of(report)
    text = [[str(v) for v in row[:3]] + [number(v, 6) for v in row[3:6]] + _yes(row[6:]) for row in rows]
    return Sheet(columns, text)


def _yes(keep: Sequence[int]) -> list[str]:
    return ["yes" if k else "no" for k in keep]
