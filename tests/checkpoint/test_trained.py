"""Weights that were trained in somebody's own code go back into the checkpoint, with all that it knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import S5
from random_layers import write
from random_networks import classifier

import last_cli as last
from last_cli.checkpoint.network import read_variables

STAMP = {"task": {"name": "listops", "max_length": 64}, "model": {"activation": "gelu"}}


def with_moments(path: Path) -> last.Checkpoint:
    """A random classifier with the state of an optimizer, and an average of its weights."""
    arrays = classifier(states=6)
    parameters = {key[1:]: array for key, array in arrays.items() if key[0] == "params"}
    arrays |= {("opt_state", "0", m, *k): np.ones_like(a) for m in ("mu", "nu") for k, a in parameters.items()}
    arrays |= {("ema", "params", *key): array for key, array in parameters.items()}
    arrays |= {("opt_state", "0", "count"): np.array(7)}
    return last.load(write(path, arrays, STAMP))


def mapped(variables: Any, change: Callable[[np.ndarray], Any]) -> Any:
    return {k: mapped(v, change) for k, v in variables.items()} if isinstance(variables, dict) else change(variables)


def test_trained_weights_keep_configuration_task_and_history(tmp_path: Path) -> None:
    small = last.prune(with_moments(tmp_path / "ckpt"), 0.5)
    trained = mapped(read_variables(small), lambda array: array + 1)
    last.save(small.with_variables(trained), tmp_path / "tuned")
    tuned = last.load(tmp_path / "tuned")
    np.testing.assert_equal(read_variables(tuned), trained)
    assert (tuned.config, tuned.origins["activation"], tuned.task) == (small.config, "checkpoint", STAMP["task"])
    pruning, training = tuned.stamp["pruned"]
    assert pruning["criterion"] == "last" and training["method"] == "trained"
    assert training["source"]["digest"] == small.digest != tuned.digest
    assert last.verify(tmp_path / "tuned").passed


def test_moments_of_what_changed_are_zero_and_all_else_stays(tmp_path: Path) -> None:
    checkpoint = with_moments(tmp_path / "ckpt")
    variables = read_variables(checkpoint)
    variables["params"]["decoder"]["kernel"] = variables["params"]["decoder"]["kernel"] + 1
    tuned = checkpoint.with_variables(variables)
    cleared = {("opt_state", "0", moment, "decoder", "kernel") for moment in ("mu", "nu")}
    found, before = tuned.read(tuned.leaves), checkpoint.read(checkpoint.leaves)
    assert not any(found[key].any() for key in cleared)
    assert {key for key in found if (found[key] != before[key]).any()} == {*cleared, ("params", "decoder", "kernel")}
    assert found["opt_state", "0", "count"] == 7


def test_nothing_trained_is_nothing_changed() -> None:
    checkpoint = last.load(S5)
    assert checkpoint.with_variables(read_variables(checkpoint)) is checkpoint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: {"params": v["params"]}, "missing: batch_stats/encoder/layers_0/norm/mean, "),
        (lambda v: {**v, "other": {"x": 1}}, "unknown: other/x"),
        (lambda v: mapped(v, lambda a: a[..., :1]), r"norm/mean: has shape \(1,\), expected \(64,\)"),
        (lambda v: mapped(v, lambda a: a * np.nan), "64 of 64 numbers are not finite"),
    ],
)
def test_what_is_not_the_model_is_refused(change: Callable[[Any], Any], said: str) -> None:
    checkpoint = last.load(S5)
    with pytest.raises(last.UsageError, match=said) as caught:
        checkpoint.with_variables(change(read_variables(checkpoint)))
    assert caught.value.hint


def test_what_was_trained_is_not_compared_with_its_source_but_repeats_its_pruning(tmp_path: Path) -> None:
    checkpoint = with_moments(tmp_path / "ckpt")
    small = last.prune(checkpoint, 0.5)
    last.save(small.with_variables(mapped(read_variables(small), lambda array: array + 1)), tmp_path / "tuned")
    with pytest.raises(last.CheckpointError, match="trained since then"):
        last.verify(tmp_path / "tuned", checkpoint)
    again = last.prune(checkpoint, keep=tmp_path / "tuned")
    assert again.digest == small.digest
