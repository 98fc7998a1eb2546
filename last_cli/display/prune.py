"""What `last prune` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from last_cli.display.calibration import in_words
from last_cli.display.search import search_details, search_lines, search_sheet
from last_cli.display.sheet import EMPTY, FULL, Sheet
from last_cli.display.tune import tune_lines
from last_cli.display.view import View
from last_cli.display.words import base_name, byte_size, kept_of, number, short_names
from last_cli.results.prune import LayerPrune, PruneReport

BAR = 16
PREDICTS = "they predict, and bound nothing"


def prune_view(report: PruneReport) -> View:
    """`last prune`: one row per layer, before and after."""
    data = report.as_json()
    search = report.search
    return View(
        title=f"last prune {base_name(report.checkpoint.path)}, {report.criterion}, ratio {report.ratio:g}",
        data=data,
        sheets=[_prune_sheet(report)],
        records=lambda: data["layers"],
        lines=_lines(report),
        details=_details(report),
        more=[search_sheet(search)] if search else [],
    )


def _lines(report: PruneReport) -> list[str]:
    """Sizes, and what was chosen."""
    (p0, p1), (b0, b1) = report.parameters, report.bytes
    sizes = f"arrays {byte_size(b0)} -> {byte_size(b1)} ({b1 / b0 - 1:+.1%})"
    lines = [f"parameters {p0:,} -> {p1:,} ({p1 / p0 - 1:+.1%}), {sizes}"]
    if report.memory:
        before, after = report.memory
        lines.append(f"state per sequence {byte_size(before)} -> {byte_size(after)} ({after / before - 1:+.1%})")
    if "random" in report.refitted_on:
        lines.append(_refitted(report))
    lines += _shape_notes(report) + _zeros_notes(report) + _blocks_notes(report)
    lines += search_lines(report.search) if report.search else []
    lines += tune_lines(report.tuned) if report.tuned else []
    lines += [f"rescaled: {_rescaled(report.rescaled)}"] if report.rescaled else []
    if report.sliced_copies:
        lines.append(f"{report.sliced_copies} optimizer arrays (moments, averages) sliced to match")
    if "dynamics" in report.changes and report.sliced_copies:
        lines.append("the optimizer arrays belong to the old poles: restart the optimizer")
    return lines


def _details(report: PruneReport) -> list[str]:
    """How it came about, and what the columns mean."""
    lines = _change_notes(report)
    lines += search_details(report.search) if report.search else []
    if report.other_shape:
        lines.append("at the same ratio now one shape loses less, now the other: `last compare` measures both")
    if any(layer.gain_bound is not None for layer in report.layers):
        lines.append("gain bound: worst-case gain of the removed states; it does not predict accuracy")
    return lines


def prune_hints(report: PruneReport) -> list[str]:
    """What a user of the output should know."""
    if report.zeros:
        return ["bytes and speed do not change; ⟦target states⟧ and ⟦target heads⟧ reduce both"]
    if report.masked:
        return ["all shapes are unchanged, so unmodified training code loads it; without ⟦masked⟧ it is smaller"]
    if report.memory:
        return _language_hints(report)
    hints = []
    if report.target == "states" and not (report.tuned or (report.changes and report.differences)):
        hints.append("⟦method reconstruct⟧ also refits C and usually loses less accuracy")
    (states, live), (before, after) = report.states, report.bytes
    shrunk = after < before * (1 + live / states) / 2
    if report.shape == "ragged" and _grouped(report) and live < states and not shrunk:
        hints.append("channels are padded to the widest, so arrays hardly shrink; ⟦shape rectangular⟧ shrinks them too")
    return hints + (_loading_hints(report) if live < states else [])


def _loading_hints(report: PruneReport) -> list[str]:
    """How code with fixed shapes loads it."""
    sizes = {layer.stored for layer in report.layers}
    if len(sizes) == 1:
        count, unit = sizes.pop(), report.target
        size = f"all layers have {count} {unit.removesuffix('s') if count == 1 else unit}"
        size += " per channel" if _grouped(report) else ""
        return [f"{size}: set that size in your configuration, or use ⟦masked⟧ to keep the old shapes"]
    silent = " (Orbax 0.4-0.6 would zero-pad silently)" if report.checkpoint.layout.startswith("orbax") else ""
    return [f"if your code restores into fixed shapes, use ⟦masked⟧{silent}"]


def _shape_notes(report: PruneReport) -> list[str]:
    """What the other shape would give."""
    if not (other := report.other_shape):
        return []
    size = f"{byte_size(other.bytes)} ({other.bytes / report.bytes.before - 1:+.1%})"
    if other.shape == "ragged":
        own = "shape rectangular: as many states in every channel of a layer"
        return [f"{own}; ragged would keep {other.states:,}, in arrays of {size}"]
    return [f"shape ragged: channels differ; rectangular would keep {other.states:,} states, in arrays of {size}"]


def _zeros_notes(report: PruneReport) -> list[str]:
    """How many weights are zero."""
    if not report.zeros:
        return []
    weights, left = report.states
    zeros, among = weights - left, " and ".join(report.zeros["modules"])
    lines = [f"{zeros:,} of {weights:,} weights of {among} are 0, {zeros / report.parameters[1]:.1%} of all parameters"]
    return lines + (["the remaining weights of these arrays are refitted"] if report.method != "criterion" else [])


def _blocks_notes(report: PruneReport) -> list[str]:
    """Which whole blocks went, and what that did to the loss."""
    said = report.needed.get("blocks", {})
    if not said.get("removed"):
        return []
    names = short_names([layer.name for layer in report.layers])
    short = dict(zip((layer.name for layer in report.layers), names, strict=True))
    gone = ", ".join(short[one["block"]] for one in said["removed"])
    loss = f"loss on the text {said['loss']:.4g} -> {said['removed'][-1]['loss']:.4g}"
    return [f"blocks {'silenced' if report.masked else 'gone'}, one after the other: {gone}; {loss} nats per token"]


def _language_hints(report: PruneReport) -> list[str]:
    loads = f", and it loads {report.loads}" if report.loads else ""
    if report.target == "groups" and report.ratio and report.states[0] == report.states[1]:
        return [
            "nothing is merged, because sizes are rounded up to a divisor or ⟦min_states⟧ keeps all of them; a larger "
            "ratio or a smaller ⟦min_states⟧ merges some"
        ]
    if report.ratio and report.states[0] == report.states[1]:
        return [
            "nothing is removed, because sizes are rounded up or ⟦min_states⟧ keeps all of them; ⟦multiple_of 1⟧, a "
            "larger ratio or a smaller ⟦min_states⟧ removes some"
        ]
    if len({layer.stored for layer in report.layers if layer.stored}) > 1:
        fill = "; ⟦stock⟧ pads them with zeros for the stock class" if loads and report.fillable else ""
        return [f"layers are stored at sizes of their own{loads}{fill}"]
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
    total = ["total", f"{before:,}", f"{after:,}", kept_of(after, before)]
    least = ["smallest kept", "removed Σ H∞", "", *list(measured)[:0:-1], "stored/channel"]
    drop = [columns.index(name) for name in least if name in columns]
    return Sheet(columns, rows, [*total, *[""] * (len(columns) - len(total))], drop=drop, names={3: "bars"})


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
        lines.append(f"white error: relative error of the output for white inputs; {PREDICTS}")
        lines.append("change H∞: guaranteed as the gain bound is, and closer")
    return lines


def _refit_notes(report: PruneReport) -> list[str]:
    lines = [] if "random" in report.refitted_on else [_refitted(report)]
    if report.reused:
        lines.append(f"reused cached measurements ({report.reused:,} sequences)")
    if errors := report.settings.get("divergences"):
        others = ", ".join(f"{name} {error:.3g}" for name, error in errors.items())
        lines.append(f"states allotted by {report.settings['allocation']}; divergences of the answers: {others}")
    if held := report.settings.get("held_out_divergences"):
        steps = ", ".join(f"{nats:.3g}" for nats in held)
        lines.append(f"divergence from the whole network's answers on held-out sequences, step by step: {steps}")
    if report.differences:
        lines.append(f"output error, white error: relative, on those sequences and on white inputs; {PREDICTS}")
        lines.append("|C| growth: far above 1 it warns of cancelling errors")
    return lines


def _refitted(report: PruneReport) -> str:
    refitted = " and ".join(report.settings.get("refitted", ["C"]))
    return f"{refitted} refitted on {in_words(report.refitted_on)}"


def _prune_row(name: str, layer: LayerPrune, padded: bool, bounds: bool) -> list[str]:
    row = [name, f"{layer.before:,}", f"{layer.after:,}", _bar(layer.after, layer.before)]
    row += [str(layer.stored)] if padded else []
    row.append(number(layer.smallest_kept_score))
    return [*row, number(layer.removed_hinf), number(layer.gain_bound)] if bounds else row


def _bar(part: int, whole: int) -> str:
    filled = round(BAR * part / whole) if whole else 0
    return FULL * filled + EMPTY * (BAR - filled)
