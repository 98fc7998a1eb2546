"""Recorded prunings of states, repeated by `--keep`; `prunings.py` runs it over all cases of an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from language_models import model
from prunings import repeated

CASES = [("hf_groups", "states_ragged"), ("ssm_bf16", "states_ragged"), ("mil_base", "states_ragged")]


@pytest.mark.parametrize(("name", "pruning"), CASES)
def test_a_recorded_pruning_is_repeated(tmp_path: Path, name: str, pruning: str) -> None:
    case = model(name)
    kept = [np.asarray(case.recorded[f"{pruning}/layer{i}"]) for i, *_ in case.mixers()]
    expected = case.recorded["tokens"], case.recorded[f"{pruning}/logits"], float(case.recorded["scale"])
    said, passed = repeated(case.directory / "checkpoint", kept, expected, tmp_path)
    assert passed and "verified" in said and "masked" in said, said
