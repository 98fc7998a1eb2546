"""How a ratio was chosen, in words and as a table."""

from __future__ import annotations

from last_cli.display.calibration import in_words as sequences
from last_cli.display.sheet import Sheet
from last_cli.results.search import Search, SearchPoint


def search_lines(search: Search) -> list[str]:
    """What was chosen, and on what."""
    best = next(p for p in search.points if p.ratio == search.chosen)
    lines = [
        f"ratio {search.chosen:g}: {in_words(search, best)}; budget {search.budget:g}",
        f"measured on {sequences(search.measured_on)}",
    ]
    if search.rule == "estimate" and search.kind != "max_error":
        lines.append("selected on the validation split; check the drop on the test split")
    return lines


def search_details(search: Search) -> list[str]:
    """How it was chosen."""
    return [
        f"the largest of {len(search.points)} measured ratios whose {search.rule} is within the budget, "
        f"in steps of {search.resolution:g}"
    ]


def search_sheet(search: Search) -> Sheet:
    """One row per measured ratio."""
    lost = {"max_drop": "drop", "max_increase": "increase %", "max_error": "error"}[search.kind]
    limits = any(point.upper is not None for point in search.points)
    columns = ["ratio", lost, "±", *(["at most"] if limits else []), "within"]
    return Sheet(columns, [_row(search, point, limits) for point in search.points], left=0)


def in_words(search: Search, point: SearchPoint) -> str:
    """What a measured ratio loses, for example "drop 0.45 ± 0.20 points"."""
    if search.kind == "max_increase":
        upper = f", at most {point.upper:.2%}" if search.rule == "upper limit" and point.upper is not None else ""
        return f"perplexity {point.value:+.2%} ± {100 * point.stderr:.2f} %{upper}"
    if search.kind == "max_drop":
        upper = f", at most {100 * point.upper:.2f}" if search.rule == "upper limit" and point.upper is not None else ""
        return f"drop {100 * point.value:.2f} ± {100 * point.stderr:.2f} points{upper}"
    return f"relative squared error of the logits {point.value:.3g} ± {point.stderr:.1g}"


def _row(search: Search, point: SearchPoint, limits: bool) -> list[str]:
    points = search.kind != "max_error"
    value, error = (100 * point.value, 100 * point.stderr) if points else (point.value, point.stderr)
    cells = [f"{value:+.2f}", f"{error:.2f}"] if points else [f"{value:.3g}", f"{error:.1g}"]
    upper = "" if point.upper is None else f"{100 * point.upper:.2f}"
    return [f"{point.ratio:g}", *cells, *([upper] if limits else []), "yes" if point.within else "no"]
