"""How a ratio was chosen, in words."""

from __future__ import annotations

from last_cli.results.search import Search, SearchPoint


def search_lines(search: Search) -> list[str]:
    """What was chosen and why."""
    best = next(p for p in search.points if p.ratio == search.chosen)
    on = ", ".join(f"{name} {value}" for name, value in search.measured_on.items() if name != "digests")
    lines = [
        f"ratio {search.chosen:g}: {in_words(search, best)}, budget {search.budget:g}, measured on {on}",
        f"the largest of {len(search.points)} measured ratios ({search.rule} within the budget; resolution "
        f"{search.resolution:g}): "
        + ", ".join(f"{p.ratio:g} {_number(search, p)}{'' if p.within else ' ✗'}" for p in search.points),
    ]
    if search.rule == "estimate" and search.kind != "max_error":
        lines.append("chosen on these very sequences, it may cost more on others: judge it on the test split")
    return lines


def in_words(search: Search, point: SearchPoint) -> str:
    """What a measured ratio loses, for example "drop 0.45 ± 0.20 points"."""
    if search.kind == "max_increase":
        upper = f", at most {point.upper:.2%}" if search.rule == "upper limit" and point.upper is not None else ""
        return f"perplexity {point.value:+.2%} ± {100 * point.stderr:.2f} %{upper}"
    if search.kind == "max_drop":
        upper = f", at most {100 * point.upper:.2f}" if search.rule == "upper limit" and point.upper is not None else ""
        return f"drop {100 * point.value:.2f} ± {100 * point.stderr:.2f} points{upper}"
    return f"relative squared error of the logits {point.value:.3g} ± {point.stderr:.1g}"


def _number(search: Search, point: SearchPoint) -> str:
    return f"{100 * point.value:+.2f}" if search.kind != "max_error" else f"{point.value:.2g}"
