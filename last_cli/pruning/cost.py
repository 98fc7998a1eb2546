"""What a sweep will cost, in words, and how one that was interrupted goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from last_cli.base.words import counted
from last_cli.results.evaluation import Measured

Key = tuple[str, float, int]
"""A point: its recipe, ratio and seed."""


def extent(todo: Sequence[Key], points: int, sequences: int) -> str:
    """What the sweep will measure."""
    recipes, ratios, seeds = (len({key[i] for key in todo}) for i in range(3))
    done = f"; {points - len(todo):,} more are done" if len(todo) < points else ""
    of = f"{counted(recipes, 'recipe')}, {counted(ratios, 'ratio')}, {'up to ' * (seeds > 1)}{counted(seeds, 'seed')}"
    return f"{counted(len(todo), 'point')} to measure ({of}) on {sequences:,} sequences each{done}"


def duration(todo: Sequence[Key], base: Measured) -> str:
    """How long that takes at the speed of the unpruned model, which was just measured."""
    each = len(base.losses) / base.speed if base.speed else 0.0
    seconds = each * sum(ratio > 0 for _, ratio, _ in todo)
    minutes = f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
    return f"about {f'{seconds:.0f} s' if seconds < 100 else minutes} of evaluation, besides choosing the units"


def how_to_go_on(out: str | Path | None) -> str:
    """What to do after an interrupt."""
    if out is None:
        return "the points are lost; with ⟦out DIR⟧ a rerun continues"
    return f"points saved in {out}; rerun the same command to continue"
