"""What `last prune` tells, and what only to who asks."""

from __future__ import annotations

import pytest
from commands import S5

import last_cli as last
from last_cli.display.prune import prune_hints, prune_view
from last_cli.results.prune import PruneReport

FIXED = "if your code restores into fixed shapes, use ⟦masked⟧ (Orbax 0.4-0.6 would zero-pad silently)"
REFIT = "⟦method reconstruct⟧ also refits C and usually loses less accuracy"


def report(**options: bool | str) -> PruneReport:
    found = last.prune(S5, 0.33, **options).report  # pyright: ignore[reportArgumentType]
    assert found is not None
    return found


def test_the_total_says_how_many_are_kept() -> None:
    total = prune_view(report()).sheets[0].total
    assert total is not None and total[3] == "85 of 128 kept (66.4 %)"


def test_the_summary_is_short_and_the_rest_is_a_detail() -> None:
    view = prune_view(report())
    assert len(view.lines) == 1 and view.lines[0].startswith("parameters 68,938 -> ")
    assert view.details == ["gain bound: worst-case gain of the removed states; it does not predict accuracy"]


@pytest.mark.parametrize(
    ("options", "hints"),
    [
        ({}, [REFIT, FIXED]),
        ({"method": "balanced"}, [FIXED]),
        (
            {"masked": True},
            ["all shapes are unchanged, so unmodified training code loads it; without ⟦masked⟧ it is smaller"],
        ),
        (
            {"scope": "layer"},
            [
                REFIT,
                "all layers have 21 states: set that size in your configuration, or use ⟦masked⟧ to keep the old "
                "shapes",
            ],
        ),
    ],
)
def test_a_hint_stands_where_it_applies(options: dict[str, bool | str], hints: list[str]) -> None:
    assert prune_hints(report(**options)) == hints


def test_where_nothing_is_removed_nothing_is_said_of_shapes() -> None:
    found = last.prune(S5, 0.0).report
    assert found is not None and FIXED not in prune_hints(found)
