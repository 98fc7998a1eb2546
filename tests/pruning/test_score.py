"""Scores of checkpoints on disk: what is reported, warned about and refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_layers import classifier, write
from random_networks import shared

import last_cli as last
from last_cli.base.errors import CheckpointError, UnstableStateError, UsageError
from last_cli.families.lti.system import hinf_norm, state_gains
from last_cli.pruning import score as scoring
from last_cli.results.score import LayerScore, Norms

B = ("params", "encoder", "layers_0", "seq", "B")


def changed(path: Path, kind: str = "s5-two-directions", *, blocks: int = 2, **edits) -> last.Checkpoint:
    """A checkpoint whose first layer's leaves were edited: `Lambda_re=(3, 0.1)` sets index 3 to 0.1."""
    arrays = classifier(kind, blocks=blocks)
    for name, (at, value) in edits.items():
        arrays[(*B[:-1], name)][at] = value
    return last.load(write(path / "ckpt", arrays))


def norms(layer: LayerScore) -> Norms:
    assert layer.norms is not None
    return layer.norms


def test_large_layers_are_scored_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, layers: int) -> None:
            held.append(layers)
            super().__init__(layers)

    monkeypatch.setattr(scoring, "ThreadPoolExecutor", Pool)
    few = last.score(shared(blocks=3))
    monkeypatch.setattr(scoring, "BYTES_AT_ONCE", 1)
    one = last.score(shared(blocks=3))
    assert held == [scoring.LAYERS_AT_ONCE, 1]
    for layer, again in zip(few.layers, one.layers, strict=True):
        np.testing.assert_array_equal(layer.scores, again.scores)


def test_a_report_has_the_norms_and_scores_of_every_state() -> None:
    ck = shared(blocks=3)
    report = last.score(ck)
    assert [layer.name for layer in report.layers] == [f"encoder/layers_{i}/seq" for i in range(3)]
    assert (report.family, report.criterion, report.states, report.ratio) == ("s5", "last", 18, None)
    for layer, found in zip(ck.layers, report.layers, strict=True):
        system = ck.system(layer)
        assert found.norms is not None
        np.testing.assert_array_equal(found.norms.hinf, hinf_norm(system))
        np.testing.assert_array_equal(found.norms.gains, state_gains(system))
        np.testing.assert_array_equal(found.norms.abs_lambda, np.abs(system.lam))
        np.testing.assert_array_equal(found.norms.poles, system.lam)
        assert found.scores.max() == 1 and found.keep is None and found.kept is None
        assert (found.states, found.features, found.directions) == (6, 4, 2)


def test_what_was_assumed_is_reported_and_what_was_said_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "ckpt", classifier())
    assert set(last.score(last.load(path)).assumed) == {"discretization", "conj_sym", "clip_eigs", "step_rescale"}
    assumed = last.score(last.load(path, discretization="bilinear", clip_eigs=False)).assumed
    assert set(assumed) == {"conj_sym", "step_rescale"}
    assert last.score(last.load(path, preset="s5-lra-image")).assumed == {"step_rescale": 1.0}


def test_options_change_the_scores(tmp_path: Path) -> None:
    path = write(tmp_path / "ckpt", classifier())
    checkpoints = last.load(path), last.load(path, discretization="bilinear"), last.load(path, step_rescale=0.5)
    zoh, bilinear, slower = (norms(last.score(ck).layers[0]).hinf for ck in checkpoints)
    assert not np.allclose(zoh, bilinear, rtol=1e-3)
    assert not np.allclose(zoh, slower, rtol=1e-3)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.33, 0.5, 0.9])
def test_with_a_ratio_the_report_says_what_stays(ratio: float) -> None:
    report = last.score(shared(), ratio=ratio)
    kept = sum(layer.kept or 0 for layer in report.layers)
    assert kept == max(int(12 * (1 - ratio) + 1e-9), 2)


def test_a_glob_shows_some_layers_but_all_are_ranked() -> None:
    ck = shared(blocks=3)
    whole = last.score(ck, ratio=0.5)
    for glob in ("layers_1", "encoder/layers_1/*", "*_1"):
        (found,) = last.score(ck, ratio=0.5, layer=glob).layers
        assert found.name == "encoder/layers_1/seq"
        np.testing.assert_array_equal(found.keep, whole.layers[1].keep)
    with pytest.raises(UsageError, match="no layer matches 'layers_7'") as caught:
        last.score(ck, layer="layers_7")
    assert "encoder/layers_2/seq" in caught.value.hint


def test_a_pole_beyond_the_unit_circle_is_refused_by_layer_and_index(tmp_path: Path) -> None:
    ck = changed(tmp_path, Lambda_re=(3, 0.2))
    with pytest.raises(UnstableStateError, match=r"encoder/layers_0/seq: state 3: \|lambda\| is 1\.0") as caught:
        last.score(ck)
    assert "clip_eigs" in caught.value.hint and "allow_unstable" in caught.value.hint


def test_several_poles_beyond_the_unit_circle_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UnstableStateError, match="state 2 and 2 more: "):
        last.score(changed(tmp_path, Lambda_re=(slice(2, 5), 0.2)))


def test_a_pole_on_the_unit_circle_is_refused(tmp_path: Path) -> None:
    ck = changed(tmp_path, Lambda_re=(0, 0.0), Lambda_im=(0, 0.0))
    with pytest.raises(UnstableStateError, match=r"state 0: \|lambda\| is 1, at or beyond"):
        last.score(ck)


def test_an_unstable_channel_of_s4d_pairs_is_named_and_clipping_is_not_offered(tmp_path: Path) -> None:
    ck = changed(tmp_path, "s4d-pairs", log_A_real=((1, 2), -80.0))
    with pytest.raises(UnstableStateError, match="channel 1, state 2: ") as caught:
        last.score(ck)
    assert "clip_eigs" not in caught.value.hint


def test_unstable_poles_are_accepted_with_a_warning_when_allowed(tmp_path: Path) -> None:
    report = last.score(changed(tmp_path, Lambda_re=(3, 0.2)), ratio=0.5, allow_unstable=True)
    (warning,) = report.warnings
    assert "encoder/layers_0/seq: state 3" in warning
    assert all(np.isfinite(layer.scores).all() for layer in report.layers)


def test_unstable_poles_are_accepted_when_clipping_makes_them_stable(tmp_path: Path) -> None:
    path = changed(tmp_path, Lambda_re=(3, 0.2)).source.path
    report = last.score(last.load(path, clip_eigs=True))
    assert not any("unit circle" in warning for warning in report.warnings)  # close to it, and told so, it is
    assert norms(report.layers[0]).abs_lambda.max() < 1


@pytest.mark.parametrize("criterion", ["last", "last-reference", "aire", "hinf", "magnitude"])
@pytest.mark.parametrize("leaf", ["B", "C1 and C2"])
def test_an_all_zero_layer_is_warned_about_and_scores_zero(tmp_path: Path, criterion: str, leaf: str) -> None:
    zeros: dict[str, Any] = dict.fromkeys(leaf.split(" and "), (slice(None), 0.0))
    ck = changed(tmp_path, **zeros)
    report = last.score(ck, criterion, ratio=0.5)
    assert [w for w in report.warnings if w.startswith("encoder/layers_0/seq: B or C is zero throughout")]
    assert not report.layers[0].scores.any() and not norms(report.layers[0]).hinf.any()
    assert report.layers[0].kept == 1
    # The released code keeps six by its threshold, and the guard one more.
    assert report.layers[1].kept == (6 if criterion == "last-reference" else 5)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"encoder/layers_0/seq: B has 1 NaN value \(first at index \(1, 2, 0\)\)"
    ):
        last.score(changed(tmp_path, B=((1, 2, 0), np.nan)))


@pytest.mark.parametrize(
    ("ratio", "hint"),
    [(33.0, "for 33 % write ratio=0.33"), (12.5, "write ratio=0.125"), (1.0, "0.33"), (-0.1, "0.33"), (100.0, "")],
)
def test_a_ratio_outside_zero_to_one_is_refused(ratio: float, hint: str) -> None:
    ck = shared(blocks=1)
    for command in (lambda: last.score(ck, ratio=ratio), lambda: last.prune(ck, ratio)):
        with pytest.raises(UsageError, match=f"^ratio is {ratio:g}, expected a number from 0 up to") as caught:
            command()
        assert hint in caught.value.hint


def test_a_ratio_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="ratio is nan"):
        last.score(shared(blocks=1), ratio=float("nan"))


def test_min_states_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="min_states is -1, expected 0 or more"):
        last.score(shared(blocks=1), ratio=0.5, min_states=-1)


def test_an_unknown_criterion_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown criterion 'lasst'") as caught:
        last.score(shared(blocks=1), "lasst")
    assert "did you mean 'last'?" in caught.value.hint


def test_random_scores_are_those_of_their_seed_and_differ_between_layers() -> None:
    ck = shared()
    one, same, other = (last.score(ck, "random", seed=seed).layers for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0].scores, same[0].scores)
    assert not (one[0].scores == other[0].scores).any()
    assert not (one[0].scores == one[1].scores).any()


def test_both_signs_of_the_imaginary_parts_tell_that_states_are_no_pairs(tmp_path: Path) -> None:
    arrays = classifier(states=8)
    assert last.load(write(tmp_path / "half", arrays)).config.conj_sym
    for key in [key for key in arrays if key[-1] == "Lambda_im"]:
        arrays[key] = np.concatenate([arrays[key][:4], -arrays[key][:4]])
    ck = last.load(write(tmp_path / "both", arrays))
    assert (ck.config.conj_sym, ck.origins["conj_sym"]) == (False, "tree")
    assert last.load(tmp_path / "both", conj_sym=True).config.conj_sym


def test_norms_stand_before_scores_in_json() -> None:
    layer = last.score(shared(), ratio=0.5).layers[0].as_json(per_state=True)
    assert list(layer)[-5:] == ["hinf", "score", "max_abs_lambda", "kept", "per_state"]
    assert list(layer["per_state"]) == ["hinf", "score", "abs_lambda", "keep"]
