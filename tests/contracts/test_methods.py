"""What every method of pruning keeps to, for every kind of layer. New ones inherit it by being in the registry."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

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

every_method = pytest.mark.parametrize("method", registry.names("methods"))
every_network = pytest.mark.parametrize("kind", KINDS)


@cache
def planned(method: str, kind: str) -> Plan:
    """A method's plan for a random classifier, on white inputs where it takes any; no network runs."""
    found: Method = registry.get("methods", method)
    ck = shared(kind)
    return found.prepare(ck, recipe(method=method), Observation(ck, None) if found.needs_inputs else None)


def live(checkpoint: last.Checkpoint) -> list[np.ndarray]:
    return [checkpoint.live(layer) for layer in checkpoint.layers]


def arrays_of(checkpoint: last.Checkpoint) -> dict[Any, tuple[str, tuple[int, ...], bytes]]:
    """Every array of a checkpoint, to the last bit."""
    found = checkpoint.read(checkpoint.leaves)
    return {key: (array.dtype.name, array.shape, array.tobytes()) for key, array in found.items()}


@every_network
@every_method
def test_a_plan_at_ratio_zero_changes_no_bit(method: str, kind: str) -> None:
    for draft in (False, True):
        found = planned(method, kind).at(0.0, draft=draft)
        assert arrays_of(found.checkpoint) == arrays_of(shared(kind))
        before, after = found.report.states
        assert before == after == sum(int(mask.sum()) for mask in live(shared(kind)))
        assert not any(layer.gain_bound for layer in found.report.layers)


@every_network
@every_method
def test_a_plan_reports_and_stamps_what_it_kept(method: str, kind: str) -> None:
    ck, found = shared(kind), planned(method, kind).at(0.4)
    small, report = found.checkpoint, found.report
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
@every_method
def test_a_draft_keeps_every_shape_and_answers_as_the_compact_one(method: str, kind: str) -> None:
    ck = shared(kind)
    draft, whole = planned(method, kind).at(0.4, draft=True), planned(method, kind).at(0.4)
    shapes = [{key: leaf.shape for key, leaf in one.leaves.items()} for one in (draft.checkpoint, ck)]
    assert shapes[0] == shapes[1] == {key: array.shape for key, array in draft.checkpoint.read(ck.leaves).items()}
    assert draft.report.masked and not draft.report.differences
    assert draft.report.states == whole.report.states
    for layer, small in zip(draft.checkpoint.layers, whole.checkpoint.layers, strict=True):
        u = np.random.default_rng(0).normal(size=(40, layer.shape.features))
        wanted = simulate(whole.checkpoint.system(small), u)
        found = simulate(draft.checkpoint.system(layer), u)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@every_network
@every_method
def test_a_larger_ratio_keeps_no_more(method: str, kind: str) -> None:
    """Nor any other states, where the values of kept ones stay."""
    before, fewest = live(shared(kind)), len(shared(kind).layers)
    for ratio in (0.2, 0.5, 0.8, 0.99):
        after = live(planned(method, kind).at(ratio, draft=True).checkpoint)
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
