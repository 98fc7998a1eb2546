"""Against inputs and outputs of the original, unmodified research code."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from cases import S4D_CASES, S5_CASES, Case

import last_cli as last
from last_cli.base import registry
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import systems_of
from last_cli.families.find import build_system, layer_of
from last_cli.families.lti.system import hinf_norm, impulse_energy, input_norm, output_norm
from last_cli.families.target import take
from last_cli.pruning import select as selection
from last_cli.pruning.criteria.criterion import tail_share
from last_cli.pruning.needs import needs_of
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.score import score_layers

s5_cases = pytest.mark.parametrize("case", S5_CASES, indirect=True)


def scores_of(checkpoint: Checkpoint, criterion: str) -> list[np.ndarray]:
    scored, _ = score_layers(checkpoint, needs_of(checkpoint, Recipe(criterion, allow_unstable=True)))
    return [layer.scores for layer in scored]


@s5_cases  # the S4D case has its epsilon in
def test_norms_and_scores_equal_the_formula_without_epsilon(case: Case) -> None:
    ck, expected = case.load(), case.expected
    systems = [ck.system(layer) for layer in ck.layers]
    same = {"rtol": 1e-9, "atol": 0}
    np.testing.assert_allclose(case.stack([s.lam for s in systems]), expected["lam_bar"], **same)
    np.testing.assert_allclose(case.stack([hinf_norm(s) ** 2 for s in systems]), expected["hinf_noeps"], **same)
    np.testing.assert_allclose(case.stack([impulse_energy(s) for s in systems]), expected["energy_noeps"], **same)
    np.testing.assert_allclose(case.stack(scores_of(ck, "last")), expected["last_scores_noeps"], **same)
    np.testing.assert_allclose(case.stack(scores_of(ck, "aire")), expected["aire_scores_noeps"], **same)


@pytest.mark.parametrize("case", S4D_CASES, indirect=True)
def test_s4d_scores_equal_the_oracles_formula(case: Case) -> None:
    ck = case.load()
    systems = [ck.system(layer) for layer in ck.layers]
    energies = [(output_norm(s) * input_norm(s)) ** 2 / ((1 - np.abs(s.lam)) ** 2 + 1e-8) for s in systems]
    np.testing.assert_allclose(case.stack(energies), case.expected["hinf"], rtol=1e-9)
    shares = [tail_share(e.ravel()).reshape(e.shape) for e in energies]
    np.testing.assert_allclose(case.stack(shares), case.expected["last_scores"], rtol=1e-9)


def test_reference_scores_and_masks_equal_the_released_code(case: Case) -> None:
    ck = case.load()
    scores = scores_of(ck, "last-reference")
    np.testing.assert_allclose(case.stack(scores), case.expected["last_scores"], rtol=5e-3)
    live = [np.ones(s.shape, bool) for s in scores]
    for ratio in case.config["ratios"]:
        masks = selection.select(scores, live, ratio / 100, ties="stay")
        np.testing.assert_array_equal(case.stack(masks), case.expected[f"last_mask_{ratio}"], err_msg=str(ratio))


@s5_cases
def test_the_papers_masks(case: Case) -> None:
    ck = case.load()
    for ratio in case.config["ratios"]:
        scores = scores_of(ck, "last")
        masks = selection.select(scores, [np.ones(s.shape, bool) for s in scores], ratio / 100)
        np.testing.assert_array_equal(case.stack(masks), case.expected[f"noeps_mask_{ratio}"], err_msg=str(ratio))


def test_last_and_its_reference_choose_the_same_states_through_the_api(case: Case) -> None:
    ck = case.load()
    for ratio in (r for r in case.config["ratios"] if r < 100):
        report = last.score(ck, "last-reference", ratio=ratio / 100, shape="ragged", allow_unstable=True)
        kept = case.stack([layer.keep for layer in report.layers if layer.keep is not None])
        np.testing.assert_array_equal(kept, case.expected[f"last_mask_{ratio}"])


def logits(case: Case, checkpoint: Checkpoint, *, prepared: bool) -> np.ndarray:
    from last_cli.families.lti.network.watch import with_systems

    model, variables = last.build_model(checkpoint)
    x, lengths = case.inputs()
    if prepared:
        variables = with_systems(variables, systems_of(checkpoint), x.shape[1])
    return np.asarray(run(model, variables, x, lengths))


@partial(jax.jit, static_argnums=0)  # masked models share their shapes, and so one compilation
def run(model: Any, variables: Any, x: Any, lengths: Any) -> Any:
    return model.apply(variables, x, lengths)


@pytest.mark.parametrize("prepared", [False, True])
def test_logits_equal_the_original_models(case: Case, prepared: bool) -> None:
    computed = logits(case, case.load(), prepared=prepared)
    np.testing.assert_allclose(computed, case.expected["logits"], atol=case.tolerance, rtol=0)
    if prepared and "logits_f64" in case.expected:
        np.testing.assert_allclose(computed, case.expected["logits_f64"], atol=case.tolerance, rtol=0)


def with_mask(checkpoint: Checkpoint, masks: list[np.ndarray], *, compact: bool) -> Checkpoint:
    """The checkpoint with removed states cut out, or with their columns of C set to zero."""
    changed, layers = {}, []
    for layer, mask in zip(checkpoint.layers, masks, strict=True):
        arrays, states = checkpoint.arrays(layer), layer.sizes.states
        index = selection.indices(mask) if compact else np.where(mask, np.arange(states), -1)
        for name, (where,) in layer.units["states"].segments.items():
            if compact:
                changed[layer.leaves[name]] = take(arrays[name], (where,), index, states)
            elif name.startswith("C"):
                keep = np.moveaxis(np.ones_like(arrays[name]), where.axis, -1)
                if where.group_axis is None:
                    keep = keep * np.tile(mask[0], keep.shape[-1] // states)
                    keep = np.moveaxis(keep, -1, where.axis)
                else:
                    keep = np.moveaxis(np.ones_like(arrays[name]), (where.group_axis, where.axis), (-2, -1))
                    keep = np.moveaxis(keep * mask, (-2, -1), (where.group_axis, where.axis))
                changed[layer.leaves[name]] = (arrays[name] * keep).astype(arrays[name].dtype)
        shapes = {name: changed.get(key, arrays[name]).shape for name, key in layer.leaves.items()}
        layers.append(layer_of(layer.name, layer.family, layer.leaves, shapes))
    leaves = {key: replace(checkpoint.leaves[key], shape=array.shape) for key, array in changed.items()}
    return replace(checkpoint, changed=changed, leaves={**checkpoint.leaves, **leaves}, layers=tuple(layers))


def test_compacted_equals_masked_equals_the_originals_masked_logits(case: Case) -> None:
    ck = case.load()
    for ratio in case.config["ratios"]:
        masks = case.unstack(case.expected[f"last_mask_{ratio}"])
        masked = logits(case, with_mask(ck, masks, compact=False), prepared=True)
        expected = case.expected[f"last_logits_{ratio}"]
        np.testing.assert_allclose(masked, expected, atol=case.tolerance, rtol=0, err_msg=str(ratio))
        if ratio in (33, 95):  # every other shape is a program of its own
            compact = logits(case, with_mask(ck, masks, compact=True), prepared=True)
            np.testing.assert_allclose(compact, masked, rtol=1e-5, atol=1e-5 * np.abs(masked).max(), err_msg=str(ratio))
            np.testing.assert_allclose(compact, expected, atol=case.tolerance, rtol=0, err_msg=str(ratio))


def test_pruned_on_disk_equals_the_originals_masked_logits(case: Case, tmp_path) -> None:
    small = last.prune(case.load(), 0.33, "last-reference", allow_unstable=True)
    last.save(small, tmp_path / "pruned")
    loaded = last.load(tmp_path / "pruned")
    expected = case.expected["last_logits_33"]
    np.testing.assert_allclose(logits(case, loaded, prepared=True), expected, atol=case.tolerance, rtol=0)


def test_kept_values_are_bit_equal(case: Case) -> None:
    ck = case.load()
    report = last.score(ck, ratio=0.5, allow_unstable=True)
    small = last.prune(ck, 0.5, allow_unstable=True)
    for layer, new, scored in zip(ck.layers, small.layers, report.layers, strict=True):
        assert scored.keep is not None
        before, after = ck.arrays(layer), small.arrays(new)
        for name in before:
            segments = layer.units["states"].segments
            if name not in segments:
                np.testing.assert_array_equal(before[name], after[name])
                continue
            (where,) = segments[name]
            if where.group_axis is None:
                keep = np.tile(scored.keep[0], before[name].shape[where.axis] // layer.sizes.states)
                np.testing.assert_array_equal(np.compress(keep, before[name], where.axis), after[name])
            else:
                old = np.moveaxis(before[name], (where.group_axis, where.axis), (0, 1))
                cut = np.moveaxis(after[name], (where.group_axis, where.axis), (0, 1))
                for channel, keep in enumerate(scored.keep):
                    np.testing.assert_array_equal(old[channel][keep], cut[channel][: keep.sum()])
                    assert not cut[channel][keep.sum() :].any()


def test_float32_and_float64_systems_agree(case: Case) -> None:
    ck = case.load()
    for layer in ck.layers:
        single = build_system(layer, ck.arrays(layer), ck.config, np.float32)
        assert single.lam.dtype == np.complex64
        np.testing.assert_allclose(single.lam, ck.system(layer).lam, rtol=1e-5)


def test_every_builtin_criterion_scores_every_case(case: Case) -> None:
    ck = case.load()
    found = [registry.get("criteria", name) for name in registry.names("criteria")]
    for name in (c.name for c in found if not {"sensitivity", "measured"} & {*c.needs}):  # see pruning/test_calibration
        for scores in scores_of(ck, name):
            assert np.isfinite(scores).all()
            assert case.name == "s5_14_uni_unstable_state" or (scores >= 0).all()
