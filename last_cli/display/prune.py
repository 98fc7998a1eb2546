"""What `last prune` shows."""

from __future__ import annotations

from last_cli.display.search import search_lines
from last_cli.display.sheet import Format, Sheet, write_csv, write_json, write_sheet
from last_cli.display.words import byte_size, number, short_names
from last_cli.results.prune import LayerPrune, PruneReport

BAR = 16


def show_prune(report: PruneReport, form: Format, output: str | None) -> None:
    """`last prune`: a row a layer, before and after."""
    if form == "json":
        return write_json(report.as_json(output))
    if form == "csv":
        rows = [list(layer.as_json().values()) for layer in report.layers]
        return write_csv(list(report.layers[0].as_json()), rows)
    return write_sheet(_prune_sheet(report), form)


def prune_summary(report: PruneReport) -> list[str]:
    """Sizes, and what is known of the error."""
    (p0, p1), (b0, b1) = report.parameters, report.bytes
    sizes = f"arrays {byte_size(b0)} -> {byte_size(b1)} ({b1 / b0 - 1:+.1%})"
    lines = [f"parameters {p0:,} -> {p1:,} ({p1 / p0 - 1:+.1%}), {sizes}"]
    if report.sliced_copies:
        lines.append(
            f"{report.sliced_copies} copies of the parameters (optimizer moments, averages) were sliced with them"
        )
    lines += report.measured_notes
    lines += search_lines(report.search) if report.search else []
    lines.append(
        "gain bound: no input makes a layer's removed part exceed this gain, worst case over all inputs; "
        "it bounds, it does not predict accuracy"
    )
    return lines


def prune_hints(report: PruneReport) -> list[str]:
    """What a user of the output should know."""
    if report.masked:
        return ["all shapes are as before, so unmodified training code loads it; without ⟦masked⟧ it would be smaller"]
    hints = []
    if not report.measured_columns:
        hints.append(
            "⟦method reconstruct⟧ refits C of what is kept, which mostly keeps more accuracy at the same ratio"
        )
    (states, live), (before, after) = report.states, report.bytes
    shrunk = after < before * (1 + live / states) / 2
    if report.shape == "ragged" and report.family != "s5" and live < states and not shrunk:
        hints.append("channels are padded to the widest, so arrays hardly shrink; ⟦shape rectangular⟧ shrinks them too")
    hints.append(
        "code that restores into arrays of the old sizes wants ⟦masked⟧: Orbax 0.4 to 0.6 silently fill up with zeros"
    )
    return hints


def _prune_sheet(report: PruneReport) -> Sheet:
    names = short_names([layer.name for layer in report.layers])
    padded = any(layer.stored != layer.after for layer in report.layers) and report.family != "s5"
    columns = ["layer", "before", "after", "", *(["stored/channel"] if padded else [])]
    columns += ["smallest kept", *report.measured_columns, "removed Σ H∞", "gain bound"]
    rows = [_prune_row(name, layer, padded) for name, layer in zip(names, report.layers, strict=True)]
    for row, measured in zip(rows, report.measured_rows, strict=False):
        row[-2:-2] = [number(value) for value in measured]
    before, after = report.states
    total = ["total", f"{before:,}", f"{after:,}", f"{after / max(before, 1):.1%} stay"]
    least = ["smallest kept", "removed Σ H∞", "", *report.measured_columns[:0:-1], "stored/channel"]
    drop = [columns.index(name) for name in least if name in columns]
    return Sheet(columns, rows, [*total, *[""] * (len(columns) - len(total))], drop=drop)


def _prune_row(name: str, layer: LayerPrune, padded: bool) -> list[str]:
    row = [name, f"{layer.before:,}", f"{layer.after:,}", _bar(layer.after, layer.before)]
    row += [str(layer.stored)] if padded else []
    return [*row, number(layer.smallest_kept_score), number(layer.removed_hinf), number(layer.gain_bound)]


def _bar(part: int, whole: int) -> str:
    filled = round(BAR * part / whole) if whole else 0
    return "█" * filled + "░" * (BAR - filled)
