"""The checks of shapes that families share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from last_cli.base import registry
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.family import Hint, agree, expect_ndim, expect_pairs


def test_sizes_that_differ_are_named() -> None:
    assert agree("states", {"A": 3, "B": 3}) == 3
    with pytest.raises(CheckpointError, match=r"^A has 3 states but C has 5$"):
        agree("states", {"A": 3, "B": 3, "C": 5})


def test_a_wrong_number_of_axes_is_named() -> None:
    expect_ndim({"C": (1, 2, 3)}, "C", "(H, N, 2)", (3, 4))
    with pytest.raises(CheckpointError, match=r"C has shape \(1, 2\), expected \(H, N, 2\)"):
        expect_ndim({"C": (1, 2)}, "C", "(H, N, 2)", (3, 4))


def test_a_last_axis_that_is_no_real_and_imaginary_part_is_named() -> None:
    expect_pairs({"C": (1, 3, 2)}, "C", "(H, N, 2)", (3,))
    for shape in ((1, 3, 3), (3, 2)):
        with pytest.raises(CheckpointError, match=r"C has shape \(.*\), expected \(H, N, 2\)"):
            expect_pairs({"C": shape}, "C", "(H, N, 2)", (3,))


def test_options_that_no_configuration_has_are_refused_at_registration() -> None:
    lru = registry.get("families", "lru")
    for changed in ({"options": ("tempo",)}, {"hints": (Hint("tempo", "D", lambda numbers: None),)}):
        with pytest.raises(UsageError, match="family 'lru': the option 'tempo' is no entry of ModelConfig"):
            replace(lru, **changed)
    with pytest.raises(UsageError, match="family 'lru': no targets"):
        replace(lru, targets=())
