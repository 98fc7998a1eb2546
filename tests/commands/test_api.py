"""The public functions: the commands' words in Python."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commands import S4D, S5, UNSTABLE, Run, data
from schemas import violations

import last_cli as last
from last_cli.base import errors, record
from last_cli.base.record import Result
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.display.figures import figure
from last_cli.display.terminal import shown
from last_cli.families.lti.config import ModelConfig

FUNCTIONS = {name: value for name in last.__all__ if inspect.isfunction(value := getattr(last, name))}


def test_dir_shows_the_api_and_nothing_else() -> None:
    assert dir(last) == sorted(last.__all__)
    assert len(FUNCTIONS) == 16
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
    described = re.sub(r"\n {8,}", " ", inspect.getdoc(function) or "")
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


def results() -> list[Result]:
    """What the functions find out that are quick."""
    checkpoint = last.load(S5)
    small = last.prune(checkpoint, 0.3)
    assert small.report is not None
    found = last.score(checkpoint, ratio=0.3), small.report, last.diff(checkpoint, small)
    return [*found, last.inspect(S5), last.config(S5), last.score(last.load(S4D))]


def mirrors(value: Any, data: Any) -> bool:
    """Whether attributes, entries and numbers of a value are those of a JSON value."""
    if isinstance(data, dict):
        named = isinstance(value, Mapping)
        return all(mirrors(value[key] if named else getattr(value, key), data[key]) for key in data)
    if isinstance(data, list):
        return len(value) == len(data) and all(map(mirrors, value, data))
    return value == data


def test_attributes_are_the_keys_of_the_json() -> None:
    for result in results():
        assert mirrors(result, result.to_dict()), result
        assert result.to_dict()["schema"] == f"last.{result.command}/1"
        assert violations(result.to_dict()) == []


def test_a_result_is_the_object_of_its_command(run: Run) -> None:
    assert last.score(S5, ratio=0.3).to_dict() == data(run, "score", S5, "--ratio", "0.3")
    assert last.score(S5).to_dict(per_state=True) == data(run, "score", S5, "--per-state")


def test_results_are_short_in_words_and_tables_in_notebooks() -> None:
    for result in results():
        assert len(repr(result)) < 200 and "\n" not in repr(result)
        assert result._repr_html_().count("<table") == 1
        assert len(result.to_pandas()) > 0
    assert repr(last.load(S5)) == f"Checkpoint({S5!r}, s5, 4 layers, 68,938 parameters)"
    score = last.score(S5, ratio=0.3)
    assert repr(score) == f"ScoreReport(checkpoint={S5!r}, criterion='last', states=128, ratio=0.3, kept=89)"
    assert (score.to_pandas()["score"].max(), score.layers[0].score.max) == (1.0, 1.0)


def test_a_misspelt_attribute_is_none() -> None:
    with pytest.raises(AttributeError, match="ScoreReport has no attribute 'kpet'"):
        last.score(S5).kpet  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_figures_are_shown_and_written(tmp_path: Path) -> None:
    drawing = last.score(S5).plot(tmp_path / "poles.png")
    assert "<svg" in drawing._repr_svg_() and (tmp_path / "poles.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(last.UsageError, match="this result of inspect has no figure"):
        last.inspect(S5).plot()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    report = last.score(S5)
    for module, call in ((record, report.to_pandas), (figure, report.plot)):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
        with pytest.raises(last.UsageError, match="which is not installed") as caught:
            call()
        assert str(caught.value.hint).startswith("pip install ")


def test_progress_is_shown_unless_it_is_unwanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def own(what: str, done: int, total: int) -> None: ...

    for given, expected in ((own, own), (False, None), (None, None), (True, None)):
        with shown(given) as bar:
            assert bar is expected  # here, stderr is no terminal
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    with shown(True) as bar:
        assert bar
        bar("prune", 1, 2)
        bar("prune", 2, 2)
    assert capsys.readouterr().err == "\rprune 1 of 2\r            \r"
