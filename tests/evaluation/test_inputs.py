"""Sequences that say nothing of the data but its type."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from language_models import directories
from random_networks import shared

import last_cli as last
from last_cli.base.errors import UsageError
from last_cli.evaluation import inputs


def test_random_inputs_are_of_the_trained_kind() -> None:
    ck = shared()
    with pytest.raises(UsageError, match="which length"):
        inputs.random(ck, 4)
    assert inputs.random(ck, 4, length=11).x.shape == (4, 11, 7)
    said = replace(ck, stamp={"task": {"name": "mine", "length": 9, "vocabulary": list("abcdefg")}})
    x = inputs.random(said, 50).x
    assert x.shape == (50, 9) and x.dtype == np.int32 and set(np.unique(x)) == set(range(7))
    assert inputs.random(said, 50).digest == inputs.random(said, 50).digest != inputs.random(said, 50, seed=1).digest


def test_a_language_model_reads_tokens_of_its_window() -> None:
    x = inputs.random(last.load(directories() / "hf_groups" / "checkpoint"), 3).x
    assert x.shape == (3, 2048) and x.dtype == np.int32 and (x.min(), x.max()) == (0, 63)
