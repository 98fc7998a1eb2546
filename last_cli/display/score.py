"""What `last score` shows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from last_cli.display.sheet import Sheet
from last_cli.display.view import Record, View
from last_cli.display.words import base_name, kept_of, number, short_names
from last_cli.results.score import LayerScore, ScoreReport

SPREAD = ("min", "median", "max")
HEADINGS = {"hinf": "H∞", "abs_lambda": "|λ|"}
"""Of columns that CSV has under the keys of JSON."""


def score_view(report: ScoreReport, per_state: bool = False, per_unit: bool = False) -> View:
    """One row per layer, or per state or unit."""
    name = base_name(report.checkpoint.path)
    kept = sum(layer.kept or 0 for layer in report.layers)
    stay = [] if report.ratio is None else [kept_of(kept, report.states)]
    drawn = all(layer.norms for layer in report.layers)
    return View(
        title=f"last score {name}, criterion {report.criterion}",
        data=report.as_json(per_state, per_unit),
        sheets=[_states_sheet(report) if per_state or per_unit else _score_sheet(report)],
        records=lambda: _records(report),
        lines=stay,
        draw=partial(_draw, report) if drawn else None,
    )


def _draw(report: ScoreReport, out: Path | io.BytesIO) -> None:
    from last_cli.display.figures.scores import draw_scores

    draw_scores(report, out)


def _score_sheet(report: ScoreReport) -> Sheet:
    kept, norms = report.ratio is not None, all(layer.norms for layer in report.layers)
    names = short_names([layer.name for layer in report.layers])
    columns = ["layer", report.target, *(["kept"] if kept else [])]
    spreads = [*(["H∞"] if norms else []), report.criterion.upper()]
    columns += [f"{one} {part}" for one in spreads for part in SPREAD]
    columns += ["max |λ|"] if norms else []
    rows = [
        [name, f"{layer.states:,}", *([f"{layer.kept:,}"] if kept else []), *_spreads(layer, norms)]
        for name, layer in zip(names, report.layers, strict=True)
    ]
    total = ["total", f"{report.states:,}"]
    if kept:
        total.append(f"{sum(layer.kept or 0 for layer in report.layers):,}")
    last = len(columns) - 1
    drop = (last - 1, last - 3, last - 5, last - 2) if norms else (last - 1, last - 2)
    return Sheet(columns, rows, [*total, *[""] * (len(columns) - len(total))], drop=drop)


def _spreads(layer: LayerScore, norms: bool) -> list[str]:
    score = list(map(number, layer.score))
    if not norms or layer.norms is None:
        return score
    peak = layer.norms.abs_lambda[layer.live].max(initial=0.0)
    return [*map(number, layer.spread(layer.norms.hinf)), *score, f"{peak:.5f}"]


def _records(report: ScoreReport) -> list[Record]:
    columns, rows = _states_of(report)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _states_of(report: ScoreReport) -> tuple[list[str], list[list[Any]]]:
    units = ("channel", "state") if report.target == "states" else ("group", report.target.removesuffix("s"))
    columns = ["layer", *units, *report.layers[0].columns]
    return columns, [row for layer in report.layers for row in _layer_states(layer)]


def _layer_states(layer: LayerScore) -> Iterator[list[Any]]:
    for group, row in enumerate(layer.live):
        channel = group if len(layer.live) > 1 else ""
        for state in row.nonzero()[0].tolist():
            values = [column[group, state].item() for column in layer.columns.values()]
            named = state + group * len(row) if layer.flat else state
            yield [layer.name, channel, named, *(int(v) if isinstance(v, bool) else v for v in values)]


def _states_sheet(report: ScoreReport) -> Sheet:
    columns, rows = _states_of(report)
    keep = columns[-1] == "keep"
    values = len(columns) - keep
    text = [[*map(str, row[:3]), *(number(v, 6) for v in row[3:values]), *_yes(row[values:])] for row in rows]
    shown = [i for i in range(len(columns)) if any(row[i] for row in text)]  # one system has no channels
    headings = [HEADINGS.get(columns[i], columns[i]) for i in shown]
    return Sheet(headings, [[row[i] for i in shown] for row in text])


def _yes(keep: Sequence[int]) -> list[str]:
    return ["yes" if k else "no" for k in keep]
