"""The commands on directories of language models: scored, pruned by states, verified, compared, inspected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import directories

import last_cli as last
from last_cli import formats
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.network import model_spec
from last_cli.display.prune import prune_hints
from last_cli.families.mamba2 import modelling
from last_cli.families.mamba2.modelling import FILE

UNIFORM = {  # what changes in which file
    "hf_groups": ("config.json", ("state_size",)),
    "hf_bf16_sharded": ("config.json", ("state_size",)),
    "falcon_h1_norm": ("config.json", ("mamba_d_state",)),
    "granite_dense": ("config.json", ("mamba_d_state",)),
    "ssm_bf16": ("config.json", ("ssm_cfg", "d_state")),
    "ssm_defaults": ("config.json", ("ssm_cfg", "d_state")),
    "phi_mva": ("config.json", ("Block1", "core_input", "d_state")),
    "llamba_base": ("config.json", ("ssm_cfg", "d_state")),
    "mil_base": ("mamba_config.json", ("ssm_cfg", "d_state")),
}


@pytest.mark.parametrize("name", UNIFORM)
def test_half_the_states_go_and_one_number_of_the_configuration_changes(tmp_path: Path, name: str) -> None:
    source = directories() / name / "checkpoint"
    out = last.save(small := last.prune(source, ratio=0.5), tmp_path / "small")
    file, (*path, key) = UNIFORM[name]
    before, after = (json.loads((directory / file).read_text()) for directory in (source, out))
    states = small.layers[0].sizes.states
    inner = before
    for part in path:
        inner = inner[part]
    assert inner.get(key, 128) == 2 * states
    inner[key] = states
    assert after == before
    for entry in source.iterdir():
        if entry.name != file and entry.suffix == ".json" and "index" not in entry.name:
            assert (out / entry.name).read_bytes() == entry.read_bytes()
    assert all(check.passed for check in last.verify(out, source).checks)
    report = small.report
    assert report is not None and report.scope == "layer" and report.memory is not None
    assert report.memory[1] < report.memory[0]
    again = last.load(out)
    assert [layer.sizes.states for layer in again.layers] == [states] * len(again.layers)
    assert len(last.diff(source, out).layers) == len(again.layers)
    assert {leaf.dtype for leaf in again.leaves.values()} == {leaf.dtype for leaf in last.load(source).leaves.values()}


def test_scores_are_in_the_shape_of_the_units() -> None:
    source = directories() / "hf_groups" / "checkpoint"
    for criterion in ("last", "hinf", "magnitude", "random"):
        found = last.score(source, criterion, ratio=0.5).as_json(per_unit=True)
        assert (found["schema"], found["target"], found["units"]) == ("last.score/1", "states", 96)
        for layer in found["layers"]:
            score, keep = (np.array(layer["per_unit"][name]) for name in ("score", "keep"))
            assert score.shape == keep.shape == (4, 8) and (score > 0).all()
            np.testing.assert_array_equal(keep.sum(axis=1), 4)
            least = np.where(keep, score, np.inf).min(axis=1)
            assert (np.where(keep, -np.inf, score).max(axis=1) <= least).all()
    assert "per_unit" not in last.score(source).as_json()["layers"][0]


@pytest.mark.parametrize(("ratio", "multiple", "kept"), [(0.5, None, 8), (0.3, None, 16), (0.3, 1, 11), (0.99, 1, 1)])
def test_what_is_kept_is_rounded_up_to_a_multiple(ratio: float, multiple: int | None, kept: int) -> None:
    small = last.prune(directories() / "hf_base" / "checkpoint", ratio=ratio, multiple_of=multiple)
    assert [layer.sizes.states for layer in small.layers] == [kept, kept]


def test_layers_of_other_sizes_are_stored_so_or_filled_up(tmp_path: Path) -> None:
    options: dict[str, Any] = {"ratio": 0.4, "scope": "global", "multiple_of": 1}
    small = last.prune(directories() / "hf_groups" / "checkpoint", stock=True, **options)
    assert small.report is not None
    after = {layer.after for layer in small.report.layers}
    assert len(after) > 1 and {layer.sizes.states for layer in small.layers} == {max(after) // 4}
    source = directories() / "phi_mva" / "checkpoint"
    out = last.save(last.prune(source, **options), tmp_path / "small")
    core = json.loads((out / "config.json").read_text())["Block1"]["core_input"]
    again = last.load(out)
    assert core["d_state_list"] == [layer.sizes.states for layer in again.layers] and core["d_state"] == 8
    assert all(check.passed for check in last.verify(out, source).checks)


GLOBAL: dict[str, Any] = {"ratio": 0.4, "scope": "global", "multiple_of": 1}


def test_a_modelling_file_goes_with_layers_of_other_sizes(tmp_path: Path) -> None:
    source = directories() / "hf_groups" / "checkpoint"
    out = last.save(small := last.prune(source, **GLOBAL), tmp_path / "small")
    states = [layer.sizes.states for layer in small.layers]
    before, after = (json.loads((directory / "config.json").read_text()) for directory in (source, out))
    sizes = {"heads": 8, "head_dim": 8, "eps": before["layer_norm_epsilon"]}
    assert after == {
        **before,
        "last_layers": [{"states": n, **sizes} for n in states],
        "auto_map": {"AutoModelForCausalLM": "modeling_last.LastMamba2ForCausalLM"},
    }
    assert (out / FILE).read_bytes() == Path(modelling.__file__).with_name(FILE).read_bytes()
    stamp, loads = json.loads((out / "last.json").read_text()), "with trust_remote_code=True (modeling_last.py)"
    assert FILE in stamp["written"]["files"] and stamp["pruned"][0]["loads"] == loads
    assert small.report is not None and small.report.as_json()["loads"] == loads
    assert (
        f"layers are stored at sizes of their own, and it loads {loads}; ⟦stock⟧ pads" in prune_hints(small.report)[0]
    )
    assert all(check.passed for check in last.verify(out, source).checks)
    assert [layer.sizes.states for layer in last.load(out).layers] == states
    assert last.save(small, out, force=True) == out
    (out / FILE).write_text("import os")
    assert [check.name for check in last.verify(out, source).checks if not check.passed] == ["other files as written"]


def test_a_second_pruning_takes_the_modelling_file_along_or_out(tmp_path: Path) -> None:
    source = directories() / "hf_groups" / "checkpoint"
    first = last.save(last.prune(source, **GLOBAL), tmp_path / "first")
    again = last.save(last.prune(first, **GLOBAL), tmp_path / "again")
    config = json.loads((again / "config.json").read_text())
    states = [layer.sizes.states for layer in last.load(again).layers]
    assert [entry["states"] for entry in config["last_layers"]] == states and (again / FILE).is_file()
    alike: dict[str, Any] = {"layers": [{"kept": [[0, 1]] * 4}] * 3}
    even = last.save(small := last.prune(again, keep=alike), tmp_path / "even")
    assert not (even / FILE).exists() and small.report is not None and small.report.loads == "in the stock class"
    before, after = (json.loads((directory / "config.json").read_text()) for directory in (source, even))
    assert after == {**before, "state_size": 2}
    for out in (again, even):
        assert all(check.passed for check in last.verify(out, source).checks)
    assert [layer.states[1] for layer in last.diff(source, again).layers] == [4 * n for n in states]


def changed(tmp_path: Path, name: str, **values: Any) -> Path:
    """A copy of a case with other values in its config.json."""
    out = shutil.copytree(directories() / name / "checkpoint", tmp_path / name)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | values))
    return out


def test_code_of_the_model_itself_is_not_replaced(tmp_path: Path) -> None:
    own = {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    source = changed(tmp_path, "hf_base", auto_map=own)
    with pytest.raises(UsageError, match=r"one number for all; .* take the place of that in config.json's auto_map"):
        last.prune(source, **GLOBAL)
    out = last.save(last.prune(source, ratio=0.5), tmp_path / "small")
    assert json.loads((out / "config.json").read_text())["auto_map"] == own


def test_a_model_of_more_than_language_has_no_modelling_file(tmp_path: Path) -> None:
    config = json.loads((directories() / "hf_base" / "checkpoint" / "config.json").read_text())
    source = changed(tmp_path, "hf_base", model_type="several", text_config=config)
    with pytest.raises(UsageError, match=r"for language models alone, no several"):
        last.prune(source, **GLOBAL)
    assert last.prune(source, ratio=0.5).settings == {"config.json": {("text_config", "state_size"): 8}}


@pytest.mark.parametrize("entries", [[], [{"states": 4}], "none"])
def test_sizes_that_are_missing_are_named(tmp_path: Path, entries: Any) -> None:
    source = changed(tmp_path, "hf_base", last_layers=entries)
    with pytest.raises(CheckpointError, match=r"last_layers (has 0 entries, and none for backbone|is no list)"):
        model_spec(last.load(source))


def test_sizes_that_are_missing_are_named_before_a_pruning(tmp_path: Path) -> None:
    source = changed(tmp_path, "hf_base", last_layers=[])
    with pytest.raises(CheckpointError, match="last_layers has 0 entries, and none for backbone/layers/0/mixer"):
        last.prune(source, ratio=0.5)


def test_a_section_that_is_null_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    source = changed(tmp_path, "ssm_defaults", ssm_cfg=None)
    out = last.save(last.prune(source, ratio=0.5), tmp_path / "small")
    assert json.loads((out / "config.json").read_text())["ssm_cfg"] == {"d_state": 64}
    assert last.verify(out, source).passed


def test_a_changed_configuration_is_seen(tmp_path: Path) -> None:
    source = directories() / "hf_base" / "checkpoint"
    out = last.save(last.prune(source, ratio=0.5), tmp_path / "small")
    config = out / "config.json"
    config.write_text(config.read_text().replace('"use_cache": true', '"use_cache": false'))
    failed = {check.name for check in last.verify(out, source).checks if not check.passed}
    assert failed == {"configuration as expected", "other files as written"}


def test_a_number_that_is_none_is_named(tmp_path: Path) -> None:
    source = directories() / "hf_base" / "checkpoint"
    index = formats.index(source)
    key = ("backbone", "layers", "1", "mixer", "A_log")
    broken = np.full(index.leaves[key].shape, np.nan, np.float32)
    formats.save(tmp_path / "broken", source=index, changed={key: broken}, stamp={})
    with pytest.raises(CheckpointError, match="backbone/layers/1/mixer: A_log has 8 NaN"):
        last.score(tmp_path / "broken")


def test_what_needs_a_system_is_refused(tmp_path: Path) -> None:
    source = directories() / "hf_base" / "checkpoint"
    with pytest.raises(UsageError, match=r"no linear system.*criterion aire"):
        last.score(source, "aire")
    ways: list[dict[str, Any]] = [{"method": "reconstruct"}, {"method": "balanced"}, {"refit": True}]
    for options in ways:
        with pytest.raises(
            (UsageError, CheckpointError), match=r"no linear system|cannot refit C|new poles|needs text"
        ):
            last.prune(source, ratio=0.5, **options)


def test_where_a_smallest_number_keeps_all_the_hint_says_so() -> None:
    report = last.prune(directories() / "hf_base" / "checkpoint", 0.5, min_states=16, multiple_of=1).report
    assert report is not None and "⟦min_states⟧ keeps all" in prune_hints(report)[0]


def test_a_ratio_that_rounding_makes_nothing_of_is_said() -> None:
    source = directories() / "hf_base" / "checkpoint"
    for ratio, said in ((0.3, True), (0.5, False)):
        report = last.prune(source, ratio=ratio).report
        assert report is not None
        assert ("nothing is removed" in prune_hints(report)[0]) is said


@pytest.mark.parametrize(
    ("name", "key"),
    [("hf_base", "num_heads"), ("hf_base", "state_size"), ("hf_base", "expand"), ("falcon_h1_norm", "mamba_d_ssm")],
)
def test_a_configuration_of_other_sizes_is_not_said_to_load(tmp_path: Path, name: str, key: str) -> None:
    source = shutil.copytree(directories() / name / "checkpoint", tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, key: 3}))
    with pytest.raises(CheckpointError, match=f"{key} is 3, and the tensors have"):
        last.prune(source, ratio=0.5)
