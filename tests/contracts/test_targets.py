"""What a family declares is all that pruning knows: any target, with a System or without, passes every command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import two_targets
from random_networks import reopened
from two_targets import CHANNELS, HEADS, STATES, TARGETS

import last_cli as last
from last_cli.base import registry
from last_cli.base.errors import CheckpointError, LastError, UsageError
from last_cli.pruning.prune import prune
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.score import score
from last_cli.pruning.sweep import Grid, _aimed

FAMILIES = ("NONLINEAR", "LINEAR", "HEADS_ONLY", "LINEAR_HEADS_ONLY")
every_family = pytest.mark.parametrize("family", FAMILIES)
every_target = pytest.mark.parametrize("target", TARGETS)
COUNT = {"heads": HEADS, "states": STATES}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A checkpoint whose layers are of one of the families, which is registered by one line."""

    def found(family: str) -> last.Checkpoint:
        monkeypatch.setitem(registry.BUILT_IN["families"], "fake-heads", f"two_targets:{family}")
        return two_targets.checkpoint(tmp_path / "ckpt")

    return found


def random_recipe(target: str, **entries: Any) -> Recipe:
    return Recipe("random", target=target, **entries)


def kept(small: last.Checkpoint) -> list[np.ndarray]:
    return [np.array(entry["kept"], int) for entry in small.stamp["pruned"][-1]["layers"]]


def cut(name: str, array: np.ndarray, target: str, index: np.ndarray) -> np.ndarray:
    """What is left of a leaf, written down without segments."""
    channels = (CHANNELS * index[:, None] + np.arange(CHANNELS)).ravel()
    if target == "states":
        return {"decay": lambda a: a[index], "W_in": lambda a: a[index], "W_out": lambda a: a[:, index]}.get(
            name, lambda a: a
        )(array)
    if name == "scale":
        return array[index]
    if name == "mix":
        return array[np.concatenate([channels, HEADS * CHANNELS + channels])]
    return array[np.concatenate([[0], 1 + channels])] if name in ("W_out", "D") else array


def removable(family: str, target: str) -> None:
    if target == "states" and family.endswith("HEADS_ONLY"):
        pytest.skip("no such target")


@every_target
@every_family
def test_scores_are_of_the_targets_units(opened, family: str, target: str) -> None:
    removable(family, target)
    report = score(opened(family), random_recipe(target), ratio=0.5)
    assert [layer.live.shape for layer in report.layers] == [(1, COUNT[target])] * 2
    assert sum(layer.kept or 0 for layer in report.layers) == COUNT[target]
    assert [layer.norms is not None for layer in report.layers] == [target == "states" and family == "LINEAR"] * 2
    assert report.as_json().get("target", "states") == target


@pytest.mark.parametrize("masked", [False, True])
@every_target
@every_family
def test_what_is_pruned_is_written_verified_and_compared(
    opened, family: str, target: str, masked: bool, tmp_path: Path
) -> None:
    removable(family, target)
    ck = opened(family)
    small = reopened(prune(ck, 0.5, random_recipe(target, masked=masked)), tmp_path / "pruned")
    assert small.stamp["pruned"][-1].get("target", "states") == target
    for old, new, index in zip(ck.layers, small.layers, kept(small), strict=True):
        assert small.live(new, target).sum() == len(index)
        for name, array in ck.arrays(old).items():
            found, moment = small.arrays(new)[name], ("opt_state", "0", "mu", *old.leaves[name][1:])
            assert found.shape == small.read([moment])[moment].shape
            if masked:
                assert found.shape == array.shape
            np.testing.assert_array_equal(
                cut(name, found, target, index) if masked else found, cut(name, array, target, index)
            )
    checks = last.verify(small, ck).checks
    assert all(check.passed for check in checks), checks
    states = family == "LINEAR" and target == "states"
    assert [check.name for check in checks if "bound" in check.name or "masked" in check.name] == (
        ["compacted = masked on random input", "gain bound holds"] if states else []
    )
    found = last.diff(ck, small)
    assert not found.same
    assert [layer.states[0] for layer in found.layers] == [HEADS] * 2


@every_target
@every_family
def test_verification_sees_what_changed_in_a_kept_unit(opened, family: str, target: str) -> None:
    removable(family, target)
    ck = opened(family)
    small = prune(ck, 0.5, random_recipe(target))
    key = small.layers[0].leaves["W_out"]
    array = small.read([key])[key].copy()
    array[-1, -1] += 1
    changed = replace(small, changed={**{k: small.changed[k] for k in small.changed}, key: array})
    assert [c.name for c in last.verify(changed, ck).checks if not c.passed] == ["kept entries bit-equal"]


@every_target
@every_family
def test_a_layer_may_lose_all_its_units(opened, family: str, target: str, tmp_path: Path) -> None:
    removable(family, target)
    ck = opened(family)
    small = prune(ck, 0.95, random_recipe(target, min_states=0))
    assert small.report is not None and small.report.states == (2 * COUNT[target], 0)
    assert all(
        f"{layer.name}: no {target[:-1]}" in w for layer, w in zip(ck.layers, small.report.warnings, strict=True)
    )
    small = reopened(small, tmp_path / "empty")
    assert all(layer.units[target].count == 1 and not small.live(layer, target).any() for layer in small.layers)
    assert last.verify(small, ck).passed


@every_family
def test_the_usual_target_is_the_first_that_the_criterion_scores(opened, family: str) -> None:
    ck = opened(family)
    small = last.prune(ck, 0.5, "random")
    assert small.report is not None and small.report.target == small.stamp["pruned"][-1]["target"] == "heads"
    assert last.score(ck, "random").target == "heads"
    if family == "LINEAR":
        assert last.score(ck).target == "states"
        return
    words = (
        "no linear system" if family == "NONLINEAR" else "the criterion last scores states, and the layers have heads"
    )
    for refused in (lambda: last.score(ck), lambda: last.prune(ck, 0.5)):
        with pytest.raises(UsageError, match=words) as caught:
            refused()
        assert "random" in caught.value.args[1]


@every_family
def test_what_changes_a_system_is_refused_in_words_where_there_is_none(opened, family: str) -> None:
    ck = opened(family)
    ways: tuple[dict[str, Any], ...] = (
        {"method": "reconstruct"},
        {"method": "balanced"},
        {"criterion": "random", "refit": True},
    )
    for options in ways:
        with pytest.raises(LastError, match=r"family 'fake-heads'|and the layers have heads"):
            last.prune(ck, 0.5, **options)
    with pytest.raises(UsageError, match="has no channels"):
        score(ck, random_recipe("channels"))
    with pytest.raises(UsageError, match="removes no heads"):
        Recipe(method="balanced", target="heads")


def test_all_recipes_of_a_sweep_remove_the_same_units(opened) -> None:
    ck = opened("LINEAR")
    for names, target in ((["random"], "heads"), (["random", "last"], "states"), (["random", "balanced"], "states")):
        recipes = _aimed(Recipe(), names, Grid(), ck)
        assert {used.target for used in recipes.values()} == {target}


def test_targets_one_after_the_other_are_verified_step_by_step(opened, tmp_path: Path) -> None:
    ck = opened("LINEAR")
    one = reopened(prune(ck, 0.5, random_recipe("heads")), tmp_path / "one")
    two = reopened(prune(one, 0.5, random_recipe("states")), tmp_path / "two")
    assert last.verify(one, ck).passed and last.verify(two, one).passed
    with pytest.raises(CheckpointError, match="heads and states since then"):
        last.verify(two, ck)


def test_a_number_that_is_not_finite_is_refused_without_a_system_too(opened, tmp_path: Path) -> None:
    ck = opened("NONLINEAR")
    key = ck.layers[1].leaves["mix"]
    array = ck.read([key])[key].copy()
    array[0, 0] = np.nan
    with pytest.raises(CheckpointError, match="layers_1/mixer: mix has 1 NaN value"):
        last.score(replace(ck, changed={key: array}), "random")
