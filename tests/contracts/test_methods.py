"""What every method of pruning keeps to, for every kind of layer. New ones inherit it by being in the registry."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from random_layers import KINDS, simulate
from random_networks import shared

import last_cli as last
from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.method import Method, Plan
from last_cli.pruning.recipe import recipe
from last_cli.results.prune import PruneReport

METHODS = [n for n in registry.names("methods") if not hasattr(registry.get("methods", n), "targets")]
"""Those that remove units; those that zero weights are in tests/pruning/test_sparse.py."""


def prunes(method: str, kind: str) -> bool:
    """Whether a method can prune this kind of layer: new values are for families that say how they enter leaves."""
    family = KINDS[kind].layer()[0].family
    return registry.get("methods", method).changes is None or None not in (family.with_readouts, family.with_system)


every_method = pytest.mark.parametrize("method", METHODS)
every_network = pytest.mark.parametrize(
    ("method", "kind"), [(method, kind) for method in METHODS for kind in KINDS if prunes(method, kind)]
)


@cache
def planned(method: str, kind: str) -> Plan:
    """A method's plan for a random classifier, on white inputs where it takes any; no network runs."""
    found: Method = registry.get("methods", method)
    ck = shared(kind)
    return found.prepare(ck, recipe(method=method), Observation(ck, None) if found.needs_inputs else None)


@cache
def at(method: str, kind: str, ratio: float, *, draft: bool = False) -> tuple[last.Checkpoint, PruneReport]:
    """What the plan answers, its arrays computed once, and its report."""
    found = planned(method, kind).at(ratio, draft=draft)
    return replace(found.checkpoint, changed=found.checkpoint.read(found.checkpoint.leaves)), found.report


def live(checkpoint: last.Checkpoint) -> list[np.ndarray]:
    return [checkpoint.live(layer) for layer in checkpoint.layers]


@every_network
def test_a_plan_at_ratio_zero_changes_no_bit(method: str, kind: str) -> None:
    ck = shared(kind)
    same, report = at(method, kind, 0.0)
    wanted, found = ck.read(ck.leaves), same.read(same.leaves)
    assert wanted.keys() == found.keys()
    for key, array in wanted.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape)
        assert found[key].tobytes() == array.tobytes(), key
    before, after = report.states
    assert before == after == sum(int(mask.sum()) for mask in live(ck))
    assert not any(layer.gain_bound for layer in report.layers)


@every_network
def test_a_plan_reports_and_stamps_what_it_kept(method: str, kind: str) -> None:
    ck, (small, report) = shared(kind), at(method, kind, 0.4)
    masks, (step,) = live(small), small.stamp["pruned"]
    assert (report.ratio, report.method, step["ratio"], report.masked) == (0.4, method, 0.4, False)
    assert report.states == (sum(mask.size for mask in live(ck)), sum(int(mask.sum()) for mask in masks))
    assert report.parameters == (ck.parameters, small.parameters) and report.bytes == (ck.bytes, small.bytes)
    assert small.parameters < ck.parameters
    for mask, layer, cut, entry in zip(masks, report.layers, small.layers, step["layers"], strict=True):
        assert (layer.name, layer.after, layer.stored) == (cut.name, int(mask.sum()), cut.units["states"].count)
        kept = entry["kept"] if len(mask) > 1 else [entry["kept"]]
        assert [len(row) for row in kept] == mask.sum(axis=1).tolist()
    checks = last.verify(small, ck).checks
    assert all(check.passed for check in checks), checks


@every_network
def test_a_draft_keeps_every_shape_and_answers_as_the_compact_one(method: str, kind: str) -> None:
    ck, (draft, rough), (small, report) = shared(kind), at(method, kind, 0.4, draft=True), at(method, kind, 0.4)
    shapes = {key: leaf.shape for key, leaf in ck.leaves.items()}
    assert shapes == {key: leaf.shape for key, leaf in draft.leaves.items()}
    assert shapes == {key: array.shape for key, array in draft.read(ck.leaves).items()}
    assert rough.masked and not rough.differences and rough.states == report.states
    for layer, cut in zip(draft.layers, small.layers, strict=True):
        u = np.random.default_rng(0).normal(size=(20, layer.sizes.features))
        wanted = simulate(small.system(cut), u)
        np.testing.assert_allclose(
            simulate(draft.system(layer), u), wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max()
        )


@every_network
def test_a_larger_ratio_keeps_no_more(method: str, kind: str) -> None:
    """Nor any other states, where the values of kept ones stay."""
    before, fewest = live(shared(kind)), len(shared(kind).layers)
    for ratio in (0.4, 0.9):
        after = live(at(method, kind, ratio, draft=True)[0])
        kept = sum(int(mask.sum()) for mask in after)
        assert fewest <= kept <= sum(int(mask.sum()) for mask in before)
        assert all(mask.any() for mask in after)
        if registry.get("methods", method).changes is None:
            assert not any((smaller & ~larger).any() for smaller, larger in zip(after, before, strict=True))
        before = after


@every_method
def test_what_a_method_cannot_change_and_no_ratio_is_refused(method: str) -> None:
    found: Method = registry.get("methods", method)
    ck = shared("s5-two-directions")
    for ratio in (1.0, -0.1):
        with pytest.raises(UsageError, match="ratio"):
            planned(method, "s5-two-directions").at(ratio)
    if found.changes is not None:
        bare = replace(ck.layers[0].family, name="bare", with_readouts=None, with_system=None)
        other = replace(ck, layers=(replace(ck.layers[0], family=bare), *ck.layers[1:]))
        with pytest.raises(UsageError, match="family 'bare'"):
            found.prepare(other, recipe(method=method), Observation(other, None) if found.needs_inputs else None)
