"""What `last diff` shows."""

from __future__ import annotations

from last_cli.base.words import some
from last_cli.display.sheet import Sheet
from last_cli.display.view import Passed, View
from last_cli.display.words import base_name, number
from last_cli.results.diff import DiffReport, LayerDiff


def diff_view(report: DiffReport) -> View:
    """One row per layer."""
    columns = ["layer", "states A", "states B", "H∞ median A", "H∞ median B", "same"]
    rows = [
        [
            layer.name,
            *("none" if n is None else f"{n:,}" for n in layer.states),
            *(number(h) for h in layer.hinf),
            "yes" if layer.equal else "no",
        ]
        for layer in report.layers
    ]
    total = ["parameters", *(f"{n:,}" for n in report.parameters), "", "", ""]
    one, other = base_name(report.checkpoint.path), base_name(report.other.path)
    same = f"{one} and {other} are the same" if report.same else f"{one} and {other} differ"
    return View(
        title=f"last diff {one} {other}",
        data=report.as_json(),
        sheets=[Sheet(columns, rows, total)],
        records=lambda: [_record(layer) for layer in report.layers],
        lines=_lines(report),
        gates=[Passed("same", report.same, same)],
    )


def _record(layer: LayerDiff) -> dict[str, object]:
    """A row of CSV: pairs are of `checkpoint` and `other`, as JSON calls the two."""
    pairs = {"states": layer.states, "hinf": layer.hinf}
    sides = {key: dict(zip(("checkpoint", "other"), pair, strict=True)) for key, pair in pairs.items()}
    return {"name": layer.name, **sides, "equal": layer.equal}


def _lines(report: DiffReport) -> list[str]:
    """What else differs."""
    lines = [f"{name}: {one} and {other}" for name, (one, other) in report.config.items()]
    if report.leaves:
        lines.append(f"other arrays differ: {some(report.leaves)}")
    return lines or (["identical"] if report.same else ["everything else is identical"])
