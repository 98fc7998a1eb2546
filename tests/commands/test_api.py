"""The public functions: the commands' words in Python."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from commands import S5, UNSTABLE

import last_cli as last
from last_cli.base import errors
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.lti.config import ModelConfig

FUNCTIONS = {name: value for name in last.__all__ if inspect.isfunction(value := getattr(last, name))}


def test_dir_shows_the_api_and_nothing_else() -> None:
    assert dir(last) == sorted(last.__all__)
    assert len(FUNCTIONS) == 15
    assert last.Checkpoint is Checkpoint
    with pytest.raises(AttributeError, match="'last_cli' has no attribute 'prnue'"):
        last.prnue  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_errors_are_reachable() -> None:
    for name in ("LastError", "UsageError", "CheckpointError", "OutputError", "DataError", "AnswerIsNo"):
        assert getattr(last, name) is getattr(errors, name)
    with pytest.raises(last.UnstableStateError):
        last.score(UNSTABLE)
    with pytest.raises(last.LastError, match="no such file"):
        last.inspect("nowhere")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_is_named_typed_and_described(name: str) -> None:
    function = FUNCTIONS[name]
    signature = inspect.signature(function)
    described = re.sub(r"\n {12,}", " ", inspect.getdoc(function) or "")
    assert signature.return_annotation is not inspect.Parameter.empty
    for option, parameter in signature.parameters.items():
        assert parameter.kind is not inspect.Parameter.VAR_KEYWORD
        assert parameter.annotation is not inspect.Parameter.empty
        if "Args:" in described:
            assert re.search(rf"^ {{4}}[\w, ]*\b{option}\b[\w, ]*:|; {option}:", described, re.MULTILINE), option


def test_loading_names_all_that_a_tree_does_not_say() -> None:
    assert {field.name for field in fields(ModelConfig)} <= set(inspect.signature(last.load).parameters)


@pytest.mark.parametrize(
    "call",
    [
        lambda ck: last.score(ck, ratio=0.5).as_json(),
        lambda ck: last.prune(ck, 0.3).digest,
        lambda ck: last.diff(ck, ck).as_json(),
        lambda ck: last.evaluate(ck, "listops", limit=4, baseline=ck).accuracy,
        lambda ck: last.build_model(ck)[0],
    ],
)
def test_a_path_does_wherever_a_checkpoint_does(call: Callable[[Any], Any]) -> None:
    assert call(S5) == call(Path(S5)) == call(last.load(S5))


def test_what_was_saved_verifies_by_its_path(tmp_path: Path) -> None:
    assert last.save(last.prune(S5, 0.3), tmp_path / "small") == tmp_path / "small"
    assert last.verify(tmp_path / "small", S5).passed
    with pytest.raises(last.OutputError):
        last.save(last.prune(S5, 0.3), tmp_path / "small")
    with pytest.raises(last.UsageError, match="nothing to save"):
        last.save(last.load(S5), tmp_path / "same")


def test_saving_with_the_path_first_is_told(tmp_path: Path) -> None:
    save: Any = inspect.unwrap(last.save)  # the tests check types before
    with pytest.raises(last.UsageError, match="pruned is 'small', expected what `prune` gave") as caught:
        save("small", tmp_path)
    assert caught.value.hint == "for example last.save(small, path), in this order"
