"""The commands on directories of Mamba-1 models: scored, pruned by states and channels, verified; not evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from mamba_models import directories, recorded

import last_cli as last
from last_cli import formats
from last_cli.base.errors import CheckpointError, UsageError

PRUNINGS = [
    ("mamba1", "states50", {"state_size": 8}),
    ("mamba1", "states_ragged", {"state_size": 12}),
    ("mamba1", "channels50", {"expand": 1, "intermediate_size": 32}),
    ("jamba", "states50", {"mamba_d_state": 8}),
    ("jamba", "channels50", {"mamba_expand": 1}),
]


def kept(case: str, pruning: str) -> dict[str, Any]:
    """A recorded choice as --keep takes it."""
    found = recorded(case, "oracle")
    layers = [{"kept": found[f"{pruning}/layer{i}"].tolist()} for i in range(3)]
    return {"target": "channels" if pruning == "channels50" else "states", "layers": layers}


def expected(name: str, array: np.ndarray, target: str, index: np.ndarray) -> np.ndarray:
    """What is left of a tensor of a mixer of 64 channels, 16 states and a rank of 4, written down without segments."""
    if target == "states":
        rows = np.concatenate([np.arange(4), 4 + index, 20 + index])
        cuts = {"A_log": lambda a: a[:, index], "x_proj.weight": lambda a: a[rows]}
        cuts |= {f"{part}_layernorm.weight": lambda a: a[index] for part in "bc"}
        return cuts.get(name, lambda a: a)(array)
    if name in ("x_proj.weight", "out_proj.weight"):
        return array[:, index]
    if name == "in_proj.weight":
        return array[np.concatenate([index, 64 + index])]
    return array if "layernorm" in name or name.startswith("../") else array[index]


def filled(name: str, array: np.ndarray, states: int, width: int) -> np.ndarray:
    """The same with zeros up to so many states."""
    if name == "A_log":
        return np.pad(array, ((0, 0), (0, width - states)))
    if name != "x_proj.weight":
        return array
    parts = np.split(array, [4, 4 + states])
    return np.concatenate([parts[0], *(np.pad(part, ((0, width - states), (0, 0))) for part in parts[1:])])


@pytest.mark.parametrize(("case", "pruning", "values"), PRUNINGS)
def test_a_choice_is_cut_written_and_verified(tmp_path: Path, case: str, pruning: str, values: dict[str, int]) -> None:
    source, said = directories() / case / "checkpoint", kept(case, pruning)
    small = last.prune(source, keep=said, stock=pruning == "states_ragged")
    out = last.save(small, tmp_path / "small")
    before, after = (json.loads((directory / "config.json").read_text()) for directory in (source, out))
    assert after == before | values
    assert all(check.passed for check in last.verify(out, source).checks)
    whole, again = last.load(source), last.load(out)
    for old, new, entry in zip(whole.layers, again.layers, said["layers"], strict=True):
        index = np.ravel(entry["kept"])
        assert again.live(new, said["target"]).sum() == len(index)
        for name, array in whole.arrays(old).items():
            wanted, found = expected(name, array, said["target"], index), again.arrays(new)[name]
            if pruning == "states_ragged":
                wanted = filled(name, wanted, len(index), 12)
            np.testing.assert_array_equal(found, wanted)


def test_scores_are_in_the_shape_of_the_units() -> None:
    for criterion in ("last", "hinf", "magnitude", "random"):
        found = last.score(directories() / "jamba" / "checkpoint", criterion, ratio=0.5).as_json(per_unit=True)
        assert (found["target"], found["units"]) == ("states", 48)
        for layer in found["layers"]:
            score, keep = (np.array(layer["per_unit"][name]) for name in ("score", "keep"))
            assert score.shape == keep.shape == (1, 16) and (score > 0).all() and keep.sum() == 8
            assert score[~keep].max() <= score[keep].min()


@pytest.mark.parametrize("criterion", ["energy", "fisher"])
def test_a_criterion_that_no_layer_of_the_kind_has_is_not_one_of_linear_systems(criterion: str) -> None:
    with pytest.raises(UsageError, match=f"has states, which the criterion {criterion} does not score"):
        last.score(directories() / "mamba1" / "checkpoint", criterion)


def test_norms_over_the_states_are_said_and_not_zeroed(tmp_path: Path) -> None:
    source = directories() / "jamba" / "checkpoint"
    report = last.prune(source, ratio=0.5).report
    assert report is not None and [w for w in report.warnings if "inexact by nature" in w] == report.warnings != []
    plain = last.prune(directories() / "mamba1" / "checkpoint", ratio=0.5, masked=True).report
    assert plain is not None and not plain.warnings
    channels = last.prune(source, ratio=0.5, criterion="random", target="channels", masked=True).report
    assert channels is not None and not channels.warnings
    with pytest.raises(UsageError, match=r"masked.*B and C are normed over the states"):
        last.prune(source, ratio=0.5, masked=True)
    with pytest.raises(UsageError, match=r"stock.*B and C are normed over the states"):
        last.prune(source, keep={"layers": [{"kept": [0, 1]}, {"kept": [0]}, {"kept": [0]}]}, stock=True)
    assert last.prune(source, ratio=0.5, stock=True).layers[0].sizes.states == 8


def test_a_directory_of_mamba_ssm_is_read_and_written(tmp_path: Path) -> None:
    source = shutil.copytree(directories() / "mamba1" / "checkpoint", tmp_path / "model")
    (source / "generation_config.json").unlink()
    config = {"d_model": 32, "n_layer": 3, "vocab_size": 96, "ssm_cfg": {}, "rms_norm": True}
    (source / "config.json").write_text(json.dumps(config))
    out = last.save(last.prune(source, ratio=0.5), tmp_path / "small")
    assert json.loads((out / "config.json").read_text()) == config | {"ssm_cfg": {"d_state": 8}}
    half = last.prune(source, ratio=0.25, target="channels", criterion="random")
    assert half.settings == {"config.json": {("ssm_cfg", "expand"): 1.5}}
    assert last.verify(out, source).passed


def test_inspect_tells_mixers_from_attention() -> None:
    found = last.inspect(directories() / "jamba" / "checkpoint").as_json()
    assert [layer["name"] for layer in found["layers"]] == [f"model/layers/{i}/mamba" for i in (0, 1, 3)]
    assert {(layer["family"], layer["parameterisation"], layer["states"]) for layer in found["layers"]} == {
        ("mamba", "mamba", 16)
    }
    assert found["untouched"] == [{"layers": ["model/layers/2"], "parts": ["feed_forward", "self_attn"]}]


def test_what_comes_next_is_what_works(run: Run, tmp_path: Path) -> None:
    source, out = directories() / "jamba" / "checkpoint", tmp_path / "small"
    code, _, said = run("prune", source, "--ratio", "0.4", "--scope", "global", "--multiple-of", "1", "-o", out)
    assert code == 0 and f"next: last verify {out} --against {source}" in said and "last eval" not in said
    assert "modeling_last.py" in said and "--stock" not in said
    assert f"next: last prune {source} --ratio 0.5   # removes the lowest half" in run("score", source)[2]


def test_evaluation_names_the_types_that_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "tokens.npz", x=[[1, 2, 3]])
    with pytest.raises(CheckpointError, match="no network of ours runs the model type 'jamba'; it runs mamba2, "):
        last.evaluate(directories() / "jamba" / "checkpoint", str(tmp_path / "tokens.npz"))


def test_a_number_that_is_none_is_named(tmp_path: Path) -> None:
    index = formats.index(directories() / "mamba1" / "checkpoint")
    key = ("backbone", "layers", "1", "mixer", "dt_proj", "bias")
    broken = np.full(index.leaves[key].shape, np.inf, np.float32)
    formats.save(tmp_path / "broken", source=index, changed={key: broken}, stamp={})
    with pytest.raises(CheckpointError, match=r"backbone/layers/1/mixer: dt_proj\.bias has 64 infinite"):
        last.score(tmp_path / "broken")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--ratio", "0.5"], "the criterion last takes none", "nothing measures states of the family 'mamba' on text"),
        (["--ratio", "0.5", "--criterion", "taylor"], "criterion taylor does not score", "score it: last, hinf, mag"),
        (["--ratio", "0.5", "--method", "reconstruct"], "no network of ours runs", "without a text, such as with"),
        (["--keep", "no.json"], "--keep cuts what a list says, and measures nothing", "leave that out"),
    ],
)
def test_a_text_that_nothing_takes_is_refused_with_what_helps(
    run: Run, tmp_path: Path, arguments: list[str], message: str, hint: str
) -> None:
    np.savez(tmp_path / "tokens.npz", x=[[1, 2, 3]])
    source = directories() / "mamba1" / "checkpoint"
    code, _, said = run("prune", source, "-n", "--calibration-file", tmp_path / "tokens.npz", *arguments)
    assert code == 2 and message in said and hint in said
