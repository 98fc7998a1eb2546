"""Families, criteria, tasks and methods by name: built in, from other packages, and misspelt."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import EntryPoint

import pytest
from commands import S5, Run, data, fails

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.cli.flags import as_flags
from last_cli.pruning.criteria.hinf import HINF
from last_cli.pruning.criteria.last import LAST


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Entry points as if other packages had them; add to the list before the first look-up."""
    added: list[EntryPoint] = []
    monkeypatch.setattr(metadata, "entry_points", lambda group: [e for e in added if e.group == group])
    registry._entry_points.cache_clear()
    yield added
    registry._entry_points.cache_clear()


def criterion(name: str, value: str = "last_cli.pruning.criteria.hinf:HINF") -> EntryPoint:
    return EntryPoint(name, value, "last_cli.criteria")


def test_built_in_names_come_in_their_order() -> None:
    assert registry.names("criteria")[:2] == ["last", "last-reference"]
    assert registry.names("families")[:3] == ["s5", "s4d", "s4d-pairs"]
    assert registry.names("tasks")[:2] == ["listops", "digits"]
    assert registry.names("methods")[:3] == ["criterion", "reconstruct", "balanced"]


def test_a_name_gives_the_built_in_itself() -> None:
    assert registry.get("criteria", "last") is LAST


@pytest.mark.parametrize(
    ("kind", "typo", "meant", "singular"),
    [
        ("criteria", "hing", "hinf", "criterion"),
        ("criteria", "last_reference", "last-reference", "criterion"),
        ("families", "s4d-pair", "s4d-pairs", "family"),
        ("tasks", "listop", "listops", "task"),
        ("methods", "balance", "balanced", "method"),
    ],
)
def test_a_typo_gets_a_suggestion(kind: registry.Kind, typo: str, meant: str, singular: str) -> None:
    with pytest.raises(UsageError, match=f"^unknown {singular} '{typo}'$") as caught:
        registry.get(kind, typo)
    assert caught.value.hint.startswith(f"did you mean '{meant}'? ")
    assert f"`last list {kind}`" in caught.value.hint


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        registry.get("tasks", "zzzzzz")
    assert caught.value.hint.startswith("tasks are: listops, digits")


def test_a_method_is_no_criterion() -> None:
    with pytest.raises(UsageError, match="'balanced' is a method of pruning and scores no states") as caught:
        registry.get("criteria", "balanced")
    assert caught.value.hint == 'last.prune(checkpoint, ratio, method="balanced")'
    assert as_flags(caught.value.args[1]) == "last prune CKPT --method balanced"


def test_other_packages_add_theirs_by_entry_points(installed: list[EntryPoint]) -> None:
    installed += [criterion("zebra"), criterion("apple"), EntryPoint("mine", "m:T", "last_cli.tasks")]
    assert registry.names("criteria")[-2:] == ["apple", "zebra"]
    assert registry.names("tasks")[-1] == "mine"
    assert registry.get("criteria", "zebra") is HINF


def test_entry_points_take_part_in_suggestions(installed: list[EntryPoint]) -> None:
    installed.append(criterion("balanced-truncation"))
    with pytest.raises(UsageError) as caught:
        registry.get("criteria", "balanced-trunction")
    assert "did you mean 'balanced-truncation'?" in caught.value.hint


def test_an_entry_point_cannot_take_a_built_in_name(installed: list[EntryPoint]) -> None:
    installed.append(criterion("last"))
    assert registry.get("criteria", "last") is LAST
    assert registry.names("criteria").count("last") == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nowhere_at_all:X", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("last_cli.pruning.criteria.hinf:GONE", "AttributeError: module "),
        ("last_cli.base.words:suggestion", "TypeError: <function suggestion at "),
    ],
)
def test_a_package_that_is_broken_is_named_and_hides_no_other(
    installed: list[EntryPoint], run: Run, value: str, said: str
) -> None:
    installed += [criterion("apple"), criterion("rotten", value)]
    with pytest.raises(UsageError, match=r"^criterion 'rotten' cannot be taken") as caught:
        registry.get("criteria", "rotten")
    assert said in caught.value.message and value.split(":")[0] in caught.value.hint
    listed = {item["name"]: item["summary"] for item in data(run, "list", "criteria")["items"]}
    assert said in listed["rotten"] and "H-infinity norm" in listed["apple"]
    assert "cannot be taken" in fails(run, "score", S5, "--criterion", "rotten")[0]
