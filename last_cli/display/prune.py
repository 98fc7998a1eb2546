"""What `last prune` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from last_cli.display.search import search_lines
from last_cli.display.sheet import Format, Sheet, write_csv, write_json, write_sheet
from last_cli.display.words import byte_size, number, short_names
from last_cli.results.prune import LayerPrune, PruneReport

BAR = 16


def show_prune(report: PruneReport, form: Format, output: str | None) -> None:
    """`last prune`: a row a layer, before and after."""
    if form == "json":
        return write_json(replace(report, output=output).as_json())
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
    lines += _zeros_notes(report) + _blocks_notes(report)
    lines += _change_notes(report)
    lines += [f"rescaled: {_rescaled(report.rescaled)}"] if report.rescaled else []
    lines += search_lines(report.search) if report.search else []
    if report.memory:
        before, after = report.memory
        lines.append(f"state of a sequence {byte_size(before)} -> {byte_size(after)} ({after / before - 1:+.1%})")
    if all(layer.gain_bound is None for layer in report.layers):
        return lines
    lines.append(
        "gain bound: no input makes a layer's removed part exceed this gain, worst case over all inputs; "
        "it bounds, it does not predict accuracy"
    )
    return lines


def prune_hints(report: PruneReport) -> list[str]:
    """What a user of the output should know."""
    if report.zeros:
        return ["bytes and speed stay as they are; ⟦target states⟧ and ⟦target heads⟧ shrink both"]
    if report.masked:
        return ["all shapes are as before, so unmodified training code loads it; without ⟦masked⟧ it would be smaller"]
    if report.memory:
        return _language_hints(report)
    hints = []
    if report.target == "states" and not (report.changes and report.differences):
        hints.append(
            "⟦method reconstruct⟧ refits C of what is kept, which mostly keeps more accuracy at the same ratio"
        )
    (states, live), (before, after) = report.states, report.bytes
    shrunk = after < before * (1 + live / states) / 2
    if report.shape == "ragged" and _grouped(report) and live < states and not shrunk:
        hints.append("channels are padded to the widest, so arrays hardly shrink; ⟦shape rectangular⟧ shrinks them too")
    hints.append(
        "code that restores into arrays of the old sizes wants ⟦masked⟧: Orbax 0.4 to 0.6 silently fill up with zeros"
    )
    return hints


def _zeros_notes(report: PruneReport) -> list[str]:
    """How many weights are zero."""
    if not report.zeros:
        return []
    weights, left = report.states
    zeros, among = weights - left, " and ".join(report.zeros["modules"])
    lines = [f"{zeros:,} of {weights:,} weights of {among} are 0, {zeros / report.parameters[1]:.1%} of all parameters"]
    return lines + (["the other weights of these arrays are new"] if report.method != "criterion" else [])


def _blocks_notes(report: PruneReport) -> list[str]:
    """Which whole blocks went, and what that did to the loss."""
    said = report.needed.get("blocks", {})
    if not said.get("removed"):
        return []
    names = short_names([layer.name for layer in report.layers])
    short = dict(zip((layer.name for layer in report.layers), names, strict=True))
    gone = ", ".join(short[one["block"]] for one in said["removed"])
    loss = f"loss on the text {said['loss']:.4g} -> {said['removed'][-1]['loss']:.4g}"
    return [f"blocks {'silenced' if report.masked else 'gone'}, one after the other: {gone}; {loss} nats a token"]


def _language_hints(report: PruneReport) -> list[str]:
    loads = f", and it loads {report.loads}" if report.loads else ""
    if report.target == "groups" and report.ratio and report.states[0] == report.states[1]:
        return ["nothing is merged: what stays is rounded up to a divisor; a larger ratio merges some"]
    if report.ratio and report.states[0] == report.states[1]:
        return ["nothing goes: numbers that stay are rounded up; ⟦multiple_of 1⟧ or a larger ratio removes some"]
    if len({layer.stored for layer in report.layers if layer.stored}) > 1:
        fill = "; ⟦stock⟧ fills them up with zeros for the stock class" if loads and report.fillable else ""
        return [f"layers have different sizes, each is stored at its own{loads}{fill}"]
    return [f"every layer has the same sizes{loads or ', so stock classes load it by the configuration beside it'}"]


def _prune_sheet(report: PruneReport) -> Sheet:
    names = short_names([layer.name for layer in report.layers])
    padded = _grouped(report) and any(layer.stored != layer.after for layer in report.layers)
    measured = _measured(report)
    columns = ["layer", "before", "after", "", *(["stored/channel"] if padded else [])]
    bounds = any(layer.gain_bound is not None for layer in report.layers)
    columns += ["smallest kept", *measured, *(["removed Σ H∞", "gain bound"] if bounds else [])]
    rows = [_prune_row(name, layer, padded, bounds) for name, layer in zip(names, report.layers, strict=True)]
    for row, *values in zip(rows, *measured.values(), strict=True):
        row[len(row) - 2 * bounds : len(row) - 2 * bounds] = map(number, values)
    before, after = report.states
    total = ["total", f"{before:,}", f"{after:,}", f"{after / max(before, 1):.1%} stay"]
    least = ["smallest kept", "removed Σ H∞", "", *list(measured)[:0:-1], "stored/channel"]
    drop = [columns.index(name) for name in least if name in columns]
    return Sheet(columns, rows, [*total, *[""] * (len(columns) - len(total))], drop=drop)


def _grouped(report: PruneReport) -> bool:
    """Whether any layer is several systems, which may keep different numbers of states."""
    return any(layer.groups > 1 for layer in report.layers) and not report.memory


def _measured(report: PruneReport) -> dict[str, list[float | None]]:
    """What was computed of each layer's change, by its heading."""
    found = report.differences
    if not found:
        return {}
    if "dynamics" in report.changes:
        return {"white error": [d.h2 for d in found], "change H∞ ≤": [d.hinf[1] for d in found]}
    columns: dict[str, list[float | None]] = {"output error": [d.calibration for d in found]}
    return columns | {"white error": [d.h2 for d in found], "|C| growth": [d.growth for d in found]}


def _change_notes(report: PruneReport) -> list[str]:
    """What a method changed beyond cutting, and what the headings mean."""
    if report.method == "merge":
        return list(report.meaning.values())
    if "dynamics" in report.changes:
        return _truncation_notes(report)
    return _refit_notes(report) if report.refitted_on else []


def _rescaled(said: Mapping[str, Any]) -> str:
    """What a pruning gave other numbers than those that were kept."""
    parts = []
    for kind in said.get("arrays", ()):
        names, dtype = kind["arrays"], f" in {kind['dtype']}" if "dtype" in kind else ""
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        parts.append(f"{names[0]}{more} times {kind['factor']:.4g}{dtype}")
    parts += [f"{', '.join(values)} in {file}" for file, values in said.get("settings", {}).items()]
    return "; ".join(parts) or "nothing"


def _truncation_notes(report: PruneReport) -> list[str]:
    lines = ["poles, B and C are new"]
    if report.differences:
        lines = [
            "poles, B and C are new; white error (white noise): relative, a predictor and no bound; "
            "change H∞: computed, guaranteed like the gain bound and closer"
        ]
    if report.sliced_copies:
        lines.append("those copies belong to the old poles: start an optimizer anew")
    return lines


def _refit_notes(report: PruneReport) -> list[str]:
    said = ", ".join(f"{name} {value}" for name, value in report.refitted_on.items() if name != "digest")
    lines = [f"{' and '.join(report.settings.get('refitted', ['C']))} refitted on: {said}"]
    if report.reused:
        lines.append(f"reused: what an earlier run measured on {report.reused} of these sequences")
    if errors := report.settings.get("logit_errors"):
        others = ", ".join(f"{name} {error:.3g}" for name, error in errors.items())
        lines.append(f"states allotted by {report.settings['allocation']}; relative logit errors: {others}")
    if held := report.settings.get("held_out_logit_errors"):
        steps = ", ".join(f"{'none' if name == 'none' else f'ridge {name}'} {e:.3g}" for name, e in held.items())
        lines.append(f"last step towards the unpruned logits, relative errors on held-out sequences: {steps}")
    if report.differences:
        lines.append(
            "output error (on those inputs) and white error (white noise): relative, predictors and no bounds; "
            "a |C| growth far above 1 warns of cancelling errors"
        )
    return lines


def _prune_row(name: str, layer: LayerPrune, padded: bool, bounds: bool) -> list[str]:
    row = [name, f"{layer.before:,}", f"{layer.after:,}", _bar(layer.after, layer.before)]
    row += [str(layer.stored)] if padded else []
    row.append(number(layer.smallest_kept_score))
    return [*row, number(layer.removed_hinf), number(layer.gain_bound)] if bounds else row


def _bar(part: int, whole: int) -> str:
    filled = round(BAR * part / whole) if whole else 0
    return "█" * filled + "░" * (BAR - filled)
