"""How errors name options: in Python as keywords, on the command line as flags, and as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from random_networks import shared

import last_cli as last
from last_cli.base import registry
from last_cli.base.errors import LastError, UsageError
from last_cli.cli.flags import as_flags
from last_cli.evaluation.bench import BenchRequest, bench
from last_cli.evaluation.evaluate import Limits, Request, evaluate
from last_cli.evaluation.inputs import positive
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.presets import preset
from last_cli.families.network import check_precision
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.score import score
from last_cli.pruning.select import check_ratio
from last_cli.pruning.sweep import Grid, sweep
from last_cli.tasks.find import find


@pytest.mark.parametrize(
    ("text", "python", "shell"),
    [
        ("add ⟦max_drop⟧", "add max_drop", "add --max-drop"),
        ("⟦max_drop 0.5⟧ and ⟦task T⟧", "max_drop=0.5 and task=T", "--max-drop 0.5 and --task T"),
        ("⟦method balanced⟧", 'method="balanced"', "--method balanced"),
        ("⟨min_states⟩ is -1", "min_states is -1", "min-states is -1"),
        ("⟨the flag|⟦mode⟧⟩ is wrong", "mode is wrong", "the flag is wrong"),
        ("write elsewhere⟨ with ⟦output⟧|⟩", "write elsewhere", "write elsewhere with -o"),
    ],
)
def test_an_option_is_spelled_for_its_reader(text: str, python: str, shell: str) -> None:
    assert LastError(text).message == python
    assert as_flags(text) == shell


def test_options_are_named_once_each() -> None:
    assert LastError("⟨seed⟩ and ⟦task⟧", "⟨a|⟦task T⟧⟩, ⟦seed 1⟧").options == ("seed", "task")


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "min_states": (lambda: Recipe(min_states=-1), "min_states is -1", "0 lets"),
    "seed": (lambda: Recipe(seed=-1), "seed is -1", "any other number"),
    "horizon": (lambda: Recipe(horizon=8), "horizon is 8", 'criterion="energy"'),
    "criterion": (lambda: Recipe("lst"), "unknown criterion 'lst'", "did you mean 'last'"),
    "method": (lambda: Recipe(method="balance"), "unknown method 'balance'", "did you mean 'balanced'"),
    "ratio": (lambda: check_ratio(-0.5), "ratio is -0.5", "0.33 removes"),
    "layer": (lambda: score(shared(), Recipe(), layer="no"), "no layer matches 'no'", "the layers are"),
    "limit": (lambda: find("digits").load(limit=0), "limit is 0", "leave it out"),
    "split": (lambda: find("digits").load("dev"), "no split 'dev'", "the splits are"),
    "task": (lambda: find("dgits"), "unknown task 'dgits'", "did you mean 'digits'"),
    "precision": (lambda: check_precision("half"), "precision is 'half'", "float32"),
    "preset": (lambda: preset("s5-lra-listop"), "unknown preset", "did you mean 's5-lra-listops'"),
    "discretization": (lambda: ModelConfig("zho"), "discretization is 'zho'", "correct discretization, or"),
    "step_rescale": (lambda: ModelConfig(step_rescale=0), "step_rescale is 0", "correct step_rescale, or"),
    "calibration": (lambda: positive(0), "calibration is 0", "256 are enough"),
    "batch": (lambda: bench([shared()], BenchRequest(batch=0)), "batch is 0", "leave out batch"),
    "batch_size": (lambda: Request("digits", batch_size=0), "batch_size is 0, expected at least 1", "leave it out"),
    "min_accuracy": (
        lambda: evaluate(shared(), Request("digits"), limits=Limits(60)), "min_accuracy is 6000 %", "0.6 means 60 per",
    ),
    "criteria": (
        lambda: sweep(shared(), Request("digits"), Grid(())), "no criteria", 'criteria=["last", "aire", "reconstruct"]',
    ),
}  # fmt: skip


@pytest.mark.parametrize("option", REFUSED)
def test_an_error_carries_the_names_of_its_options(option: str) -> None:
    call, said, hint = REFUSED[option]
    with pytest.raises(UsageError) as caught:
        call()
    error = caught.value
    assert option in error.options
    assert said in error.message and hint in error.hint
    assert "--" not in f"{error.message} {error.hint}" and not set("⟦⟧⟨⟩") & set(f"{error.message}{error.hint}")


def test_a_call_is_spelled_as_a_call() -> None:
    with pytest.raises(UsageError) as caught:
        last.bench()
    assert caught.value.hint == 'last.bench("ckpt")' and as_flags(caught.value.args[1]) == "last bench CKPT..."
    with pytest.raises(UsageError) as caught:
        registry.get("criteria", "reconstruct")
    assert caught.value.hint == 'last.prune(checkpoint, ratio, method="reconstruct")'
