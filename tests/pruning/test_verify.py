"""What verification takes from a stamp: which leaves a method changed, whatever it is called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import model
from random_networks import balanced, observed, pruned, reconstruct, shared

import last_cli as last
from last_cli.base import registry
from last_cli.display.prune import prune_view
from last_cli.families.target import ROLES
from last_cli.pruning.balanced.method import BALANCED
from last_cli.pruning.cut import Kept
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.verify import _same_outputs

KEPT = "kept entries bit-equal"


def restamped(small: last.Checkpoint, **entries: Any) -> last.Checkpoint:
    """The same with other entries in the last step of its stamp; None takes one out."""
    *before, step = small.stamp["pruned"]
    step = {name: entry for name, entry in {**step, **entries}.items() if entry is not None}
    return replace(small, stamp={**small.stamp, "pruned": [*before, step]})


def failed(small: last.Checkpoint, against: last.Checkpoint) -> list[str]:
    return [check.name for check in last.verify(small, against).checks if not check.passed]


def names(small: last.Checkpoint, against: last.Checkpoint) -> list[str]:
    return [check.name for check in last.verify(small, against).checks]


def changed(small: last.Checkpoint, leaf: str) -> last.Checkpoint:
    """The same with one number of a layer's leaf changed."""
    key = small.layers[0].leaves[leaf]
    array = small.read([key])[key].copy()
    array.flat[0] += 1
    return replace(small, changed={**{k: small.changed[k] for k in small.changed}, key: array})


@dataclass(frozen=True)
class Poles:
    """A method of another package with new poles, which says so or does not."""

    says: list[str] | None
    name: str = "poles"
    summary: str = "new poles of another package"
    changes: str | None = "new poles"
    needs_inputs: bool = False

    def prepare(self, checkpoint: Any, recipe: Any, observation: Any, progress: Any = None) -> Plan:
        return PolesPlan(self, BALANCED.prepare(checkpoint, recipe, observation, progress))


@dataclass(frozen=True)
class PolesPlan:
    method: Poles
    plan: Plan

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        found = self.plan.at(ratio, draft=draft)
        small = restamped(
            found.checkpoint, method="poles", criterion="poles", changes=self.method.says, gain_bound=None
        )
        return Pruned(small, replace(found.report, method="poles"))


@pytest.mark.parametrize("says", [list(ROLES), None])
def test_new_poles_of_another_package_are_verified(says: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN["methods"], "poles", f"{__name__}:{'SAYS' if says else 'SILENT'}")
    ck = shared()
    small = last.prune(ck, 0.4, method="poles")
    assert names(small, ck)[1:] == [f"{KEPT}, poles, B and C new", "everything else untouched"]
    assert not failed(small, ck)
    assert failed(changed(small, "D"), ck) == ["everything else untouched"]
    assert small.report is not None
    assert "poles, B and C are new" in " ".join(prune_view(small.report).details)


SAYS, SILENT = Poles(list(ROLES)), Poles(None)


def test_stamps_and_reports_say_which_roles_changed() -> None:
    found = {
        "criterion": last.prune(shared(), 0.4),
        "reconstruct": pruned(reconstruct(observed()), 0.4, draft=True),
        "balanced": balanced(shared(), 0.4),
    }
    roles = {"criterion": (), "reconstruct": ("readout",), "balanced": ROLES}
    for method, small in found.items():
        assert small.report is not None and small.report.changes == roles[method]
        assert tuple(small.stamp["pruned"][-1].get("changes", ())) == roles[method]


@pytest.mark.parametrize("method", ["reconstruct", "refit", "balanced"])
def test_stamps_of_0_1_name_the_method_alone(method: str) -> None:
    ck = shared()
    small = balanced(ck, 0.4) if method == "balanced" else pruned(reconstruct(observed()), 0.4, draft=True)
    old = restamped(small, method=method, changes=None)
    assert names(old, ck) == names(small, ck) and not failed(old, ck)
    kept = next(name for name in names(old, ck) if name.startswith(KEPT))
    assert failed(changed(old, "log_step"), ck)[:1] == [kept]


def test_a_stamp_that_says_too_little_does_not_pass() -> None:
    ck = shared()
    assert failed(restamped(balanced(ck, 0.4), changes=["readout"]), ck)[0] == f"{KEPT}, C refitted"
    assert failed(restamped(balanced(ck, 0.4), changes=[]), ck)[0] == KEPT


@pytest.mark.parametrize("name", ["mil_base", "hf_bf16_sharded"])
def test_mixers_put_out_the_same_masked_and_compacted(tmp_path: Path, name: str) -> None:
    source = last.load(model(name).directory / "checkpoint")
    pruned = last.load(last.save(last.prune(source, ratio=0.5), tmp_path / "small"))
    (found,) = (check for check in last.verify(pruned, source).checks if check.name.startswith("compacted"))
    assert found.passed and found.seen.startswith("largest relative difference ")
    # Where the others had been kept, it would say so.
    units = {layer.name: layer.units["states"] for layer in source.layers}
    masks = {name: np.ones((found.groups, found.count), bool) for name, found in units.items()}
    assert not _same_outputs(pruned, source, Kept(masks), np.random.default_rng(0)).passed
