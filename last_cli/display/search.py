"""How a ratio was chosen, in words."""

from __future__ import annotations

from last_cli.results.search import Search, SearchPoint


def search_lines(search: Search) -> list[str]:
    """What was chosen and why."""
    best = next(p for p in search.points if p.ratio == search.chosen)
    on = ", ".join(f"{name} {value}" for name, value in search.measured_on.items() if name != "digests")
    rule = "value + standard error within the budget" if search.strict else "value within the budget"
    lines = [
        f"ratio {search.chosen:g}: {in_words(search, best)}, budget {search.budget:g}, measured on {on}",
        f"the largest of {len(search.points)} measured ratios ({rule}; resolution {search.resolution:g}): "
        + ", ".join(f"{p.ratio:g} {_number(search, p)}{'' if p.within else ' ✗'}" for p in search.by_ratio),
    ]
    if search.kind == "max_drop":
        lines.append("chosen on these very sequences, it may cost more on others: judge it on the test split")
    return lines


def in_words(search: Search, point: SearchPoint) -> str:
    """What a measured ratio loses, for example "drop 0.45 ± 0.20 points"."""
    if search.kind == "max_drop":
        return f"drop {100 * point.value:.2f} ± {100 * point.stderr:.2f} points"
    return f"relative squared error of the logits {point.value:.3g} ± {point.stderr:.1g}"


def _number(search: Search, point: SearchPoint) -> str:
    return f"{100 * point.value:+.2f}" if search.kind == "max_drop" else f"{point.value:.2g}"
