"""Heads and channels of Mamba-2 go: what is rescaled for it, which files say so, and what stock classes cannot hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from language_models import directories

import last_cli as last
from last_cli import formats
from last_cli.base.errors import UsageError
from last_cli.families.mamba2.modelling import FILE


def source(name: str) -> Path:
    return directories() / name / "checkpoint"


def config(directory: Path, file: str = "config.json") -> dict[str, Any]:
    return json.loads((directory / file).read_text())


def tensors(directory: Path) -> dict[str, np.ndarray]:
    return {".".join(key): array for key, array in formats.read(formats.index(directory)).items()}


ROOT = 2**0.5
HALVED = {  # values of sizes, and those that are rescaled
    "hf_base": ({"num_heads": 4, "expand": 1}, {"layer_norm_epsilon": 2e-5}),
    "bamba": ({"mamba_n_heads": 4, "mamba_expand": 1}, {"rms_norm_eps": 2e-5}),
    "granite_dense": (
        {"mamba_n_heads": 4, "mamba_expand": 1},
        {"rms_norm_eps": 2e-6, "embedding_multiplier": 4 * ROOT, "residual_multiplier": 0.7 * ROOT},
    ),
    "ssm_mlp": ({"ssm_cfg": {"expand": 1}}, {"norm_eps_list": [2e-5, 2e-5]}),
}


@pytest.mark.parametrize("name", HALVED)
def test_half_the_heads_go_and_what_they_were_to_the_norms_is_put_right(tmp_path: Path, name: str) -> None:
    small = last.prune(source(name), ratio=0.5, target="heads", criterion="magnitude")
    out = last.save(small, tmp_path / "small")
    wanted, (sizes, rescaled) = config(source(name)), HALVED[name]
    for key, value in {**sizes, **rescaled}.items():
        wanted[key] = {**wanted[key], **value} if isinstance(value, dict) else value
    assert config(out) == {key: pytest.approx(v) if isinstance(v, float) else v for key, v in wanted.items()}
    assert all(check.passed for check in last.verify(out, source(name)).checks)
    report = small.report
    assert report is not None and report.target == "heads" and not report.warnings
    first = report.rescaled["arrays"][0]
    assert first["factor"] == ROOT and first["arrays"][0].endswith("norm/weight")
    assert report.rescaled["settings"] == {
        "config.json": {key: pytest.approx(value) for key, value in rescaled.items()}
    }
    assert report.as_json()["rescaled"] == small.stamp["pruned"][-1]["rescaled"] == report.rescaled


def test_the_residual_stream_grows_and_the_last_norm_shrinks_for_a_tied_head(tmp_path: Path) -> None:
    out = last.save(last.prune(source("hf_base"), ratio=0.5, target="heads"), tmp_path / "small")
    before, after = tensors(source("hf_base")), tensors(out)
    for name, factor in {"backbone.embeddings.weight": ROOT, "backbone.norm_f.weight": 1 / ROOT}.items():
        np.testing.assert_array_equal(after[name], (before[name].astype(np.float64) * factor).astype(np.float32))
    assert after["backbone.layers.1.mixer.out_proj.weight"].shape == (32, 32)
    np.testing.assert_array_equal(after["backbone.layers.0.norm.weight"], before["backbone.layers.0.norm.weight"])


def test_verify_recomputes_what_was_rescaled(tmp_path: Path) -> None:
    out = last.save(last.prune(source("hf_groups"), ratio=0.5, target="heads"), tmp_path / "small")
    index = formats.index(out, checked=False)
    key = ("backbone", "embeddings", "weight")
    stamp = {k: v for k, v in (index.stamp or {}).items() if k != "written"}
    formats.save(
        tmp_path / "other", source=index, changed={key: tensors(source("hf_groups"))[".".join(key)]}, stamp=stamp
    )
    failed = {c.name: c.seen for c in last.verify(tmp_path / "other", source("hf_groups")).checks if not c.passed}
    assert (
        list(failed) == ["kept entries bit-equal"] and "backbone/embeddings/weight" in failed["kept entries bit-equal"]
    )


CHAINS = [
    ("hf_groups", "heads heads"),
    ("ssm_groups_eq_heads", "heads heads"),
    ("hf_bf16_sharded", "heads states heads"),
    ("granite_dense", "states channels"),
    ("hf_base", "states weights"),
]


@pytest.mark.parametrize(("name", "targets"), CHAINS)
def test_prunings_one_after_the_other_are_made_again_by_verify(tmp_path: Path, name: str, targets: str) -> None:
    text: dict[str, Any] = {"calibration_file": tmp_path / "text.npz", "criterion": "wanda"}
    np.savez(text["calibration_file"], x=[list(range(1, 20))])
    out = source(name)
    for i, target in enumerate(targets.split()):
        given: dict[str, Any] = text if target == "weights" else {"criterion": "magnitude"}
        out = last.save(last.prune(out, ratio=0.5, target=target, **given), tmp_path / str(i))
    assert last.verify(out, source(name)).passed
    index = formats.index(out, checked=False)
    key, array = next(item for item in tensors(out).items() if item[0].endswith(".norm.weight"))
    stamp = {k: v for k, v in (index.stamp or {}).items() if k != "written"}
    formats.save(tmp_path / "other", source=index, changed={tuple(key.split(".")): array * 2}, stamp=stamp)
    assert not last.verify(tmp_path / "other", source(name)).passed


def test_what_no_stock_class_holds_goes_with_the_modelling_file(tmp_path: Path) -> None:
    small = last.prune(source("hf_bf16_sharded"), ratio=0.5, target="heads")
    out = last.save(small, tmp_path / "small")
    entry = {"states": 16, "heads": 4, "head_dim": 8, "eps": 2e-5}
    assert config(out)["last_layers"] == [entry] * 3 and config(out)["layer_norm_epsilon"] == 1e-5
    assert (out / FILE).is_file()
    # Once more: the epsilons are those of the smaller one, and the sizes still none of the stock class.
    again = last.save(last.prune(out, ratio=0.5, target="heads"), tmp_path / "again")
    assert config(again)["last_layers"] == [{**entry, "heads": 2, "eps": 4e-5}] * 3
    assert all(check.passed for check in last.verify(again, out).checks)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_states_go_where_each_head_is_left_with_a_group_of_its_own(
    tmp_path: Path, scope: Literal["layer", "global"]
) -> None:
    opened = last.load(source("falcon_h1_norm"))
    groups = opened.layers[0].units["states"].groups
    each = opened.layers[0].units["heads"].count
    kept = [[g * each for g in range(groups)], list(range(groups * each))]
    kept += [kept[1]] * (len(opened.layers) - 2)
    first = last.prune(opened, keep={"target": "heads", "layers": [{"kept": one} for one in kept]})
    one = last.save(first, tmp_path / "one")
    two = last.save(last.prune(one, 0.5, scope=scope, multiple_of=1), tmp_path / "two")
    assert (two / FILE).is_file() and last.verify(two, source("falcon_h1_norm")).passed


def test_a_head_that_is_all_of_its_group_takes_it_along_and_stock_is_no_way_out(tmp_path: Path) -> None:
    opened = last.load(source("falcon_h1_norm"))
    units = opened.layers[0].units["heads"]
    kept = [[group * units.count for group in range(units.groups)]]
    kept += [[*range(units.groups * units.count)]] * (len(opened.layers) - 1)
    small = last.prune(opened, keep={"target": "heads", "layers": [{"kept": one} for one in kept]})
    one = last.save(small, tmp_path / "one")
    with pytest.raises(UsageError, match=r"one head in each of its groups, .* falcon_h1 has 2 in all layers") as error:
        last.prune(one, 0.5, target="heads", criterion="magnitude")
    assert "stock" not in error.value.hint


def test_with_stock_it_is_said_how_far_it_is_off(tmp_path: Path) -> None:
    small = last.prune(source("hf_bf16_sharded"), ratio=0.5, target="heads", stock=True)
    report = small.report
    assert report is not None and "norm is rounded" in report.rescaled["inexact"]
    first, measured = report.warnings
    assert first == report.rescaled["inexact"] and "log p of one differs by" in measured
    out = last.save(small, tmp_path / "small")
    assert {array.dtype.name for array in tensors(out).values()} == {"bfloat16"} and not (out / FILE).exists()
    assert all(check.passed for check in last.verify(out, source("hf_bf16_sharded")).checks)


def test_numbers_of_heads_that_a_configuration_cannot_say_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"6 heads of 8 channels are 48, no multiple of the width 32") as caught:
        last.prune(source("hf_base"), ratio=0.25, target="heads", stock=True)
    assert 'scope="layer" and ratio=0.5 (4 of 8)' in caught.value.hint  # a choice over all layers has no such number
    small = last.prune(source("hf_base"), ratio=0.25, target="heads")
    assert small.report is not None and str(small.report.loads).startswith("with trust_remote_code")
    core = config(last.save(last.prune(source("phi_mva"), ratio=0.5, target="heads"), tmp_path / "phi"))
    lists = core["Block1"]["core_input"]
    assert lists["n_v_heads_list"] == [2, 2] and lists["d_inner_list"] == [16, 16]


def test_scores_of_heads_are_a_number_each() -> None:
    for criterion in ("last", "hinf", "magnitude", "random"):
        found = last.score(source("hf_groups"), criterion, target="heads", ratio=0.5).as_json(per_unit=True)
        assert (found["target"], found["units"]) == ("heads", 24)
        for layer in found["layers"]:
            score, keep = (np.array(layer["per_unit"][name]) for name in ("score", "keep"))
            assert score.shape == keep.shape == (8,) and (score > 0).all()
            np.testing.assert_array_equal(keep.reshape(4, 2).sum(axis=1), 1)
    found = last.score(source("hf_groups"), "random", target="channels").as_json(per_unit=True)
    assert np.array(found["layers"][0]["per_unit"]["score"]).shape == (8, 8)
    with pytest.raises(UsageError, match="has channels, which the criterion last does not score") as caught:
        last.score(source("hf_groups"), target="channels")
    assert "random" in caught.value.hint and "keep" in caught.value.hint
