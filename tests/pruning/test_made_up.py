"""FLAP with its bias: what is recorded of the paper's method, and where a model has room for the bias."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import directories, model
from prunings import run

import last_cli as last
from last_cli.pruning.calibration.observe import observe
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.recipe import Recipe

RECORDED = Path(__file__).parents[1] / "data" / "mamba2" / "flap.npz"
NAME = ("flap", "heads")


def source(name: str) -> Path:
    return directories() / name / "checkpoint"


def asked(name: str, folder: Path) -> dict[str, Any]:
    """FLAP on recorded sequences, or on some."""
    with np.load(RECORDED) as found:
        key = f"{name}/tokens"
        x = found[key] if key in found else np.random.default_rng(0).integers(0, 60, (4, 24))
    np.savez(folder / "tokens.npz", x=x.astype(int))
    return {"criterion": "flap", "target": "heads", "calibration_file": folder / "tokens.npz"}


@pytest.mark.parametrize("name", ["ssm_norm_before_gate", "hf_base", "phi_mva"])
def test_scores_means_kept_heads_and_biases_are_those_that_are_recorded(name: str, tmp_path: Path) -> None:
    with np.load(RECORDED) as found:
        wanted = {key.partition("/")[2]: found[key] for key in found if key.startswith(f"{name}/")}
    checkpoint, file = last.load(source(name)), asked(name, tmp_path)["calibration_file"]
    means = observe(checkpoint, Recipe("flap").on(checkpoint.layers), Calibration(calibration_file=file)).means(NAME)
    scores = []
    for i, layer in enumerate(checkpoint.layers):
        leaves, seen = checkpoint.arrays(layer), means[layer.name]
        scores.append(layer.family.on_inputs[NAME](leaves, seen).ravel())
        np.testing.assert_allclose(scores[i], wanted["flap"][i], rtol=1e-3, atol=1e-5)
        mean = seen["mean"].mean(axis=0).ravel()
        np.testing.assert_allclose(mean, wanted["mean"][i].ravel(), rtol=1e-3, atol=1e-6)
        weight = leaves["out_proj.weight"].astype(np.float64)
        for percent in (25, 50):
            keep = wanted[f"flap_{percent}"][i].reshape(layer.units["heads"].groups, -1)
            by_hand = weight @ (wanted["mean"][i].ravel() * np.repeat(~keep.ravel(), weight.shape[1] // keep.size))
            made = layer.family.made_up[NAME](leaves, seen, keep)["out_proj.bias"]
            np.testing.assert_allclose(made, wanted.get(f"bias_{percent}", {i: by_hand})[i], rtol=1e-3, atol=1e-6)
    for percent in (25, 50):  # The paper's code keeps what scores more than the last that is to stay.
        keep, all_ = wanted[f"flap_{percent}"], np.array(scores)
        np.testing.assert_array_equal(keep, all_ >= np.sort(all_, axis=None)[-keep.sum()])


@pytest.mark.parametrize("name", ["ssm_norm_before_gate", "hf_base"])
def test_channels_score_what_heads_are_means_of_and_their_bias_is_what_goes(name: str, tmp_path: Path) -> None:
    with np.load(RECORDED) as found:
        heads, means = found[f"{name}/flap"], found[f"{name}/mean"]
    options: dict[str, Any] = {**asked(name, tmp_path), "target": "channels"}
    report = last.score(source(name), ratio=0.5, **options)
    kept = [y.keep for y in report.layers if y.keep is not None]
    for layer, wanted in zip(report.layers, heads, strict=True):
        np.testing.assert_allclose(layer.scores.mean(axis=1), wanted, rtol=1e-3, atol=1e-5)
    counts = [mask.sum(axis=1) for mask in kept]
    assert all((count == count[0]).all() for count in counts)  # in every head of a layer as many
    assert sum(mask.sum() for mask in kept) <= 0.5 * sum(mask.size for mask in kept)
    whole = last.load(source(name))
    small = last.prune(whole, 0.5, **options)
    made = [layer.leaves.get("out_proj.bias") for layer in small.layers]
    for layer, key, mask, mean in zip(whole.layers, made, kept, means, strict=True):
        if key is not None:
            weight = whole.arrays(layer)["out_proj.weight"].astype(np.float64)
            by_hand = weight @ (mean.ravel() * ~mask.ravel())
            np.testing.assert_allclose(small.read([key])[key], by_hand, rtol=1e-3, atol=1e-6)
    assert (made[0] is not None) == (name == "hf_base")  # mamba_ssm has no bias of out_proj alone
    assert last.verify(last.load(last.save(small, tmp_path / "small")), whole).passed


@pytest.mark.parametrize("name", ["hf_base", "hf_bias_noconvbias", "falcon_h1_norm"])
def test_a_model_of_transformers_gets_the_bias(name: str, tmp_path: Path) -> None:
    options, whole = asked(name, tmp_path), last.load(source(name))
    has = "out_proj.bias" in whole.layers[0].leaves
    small = last.prune(whole, 0.5, **options)
    report, step = small.report, small.stamp["pruned"][-1]
    assert report is not None and not report.warnings and report.parameters[0] == whole.parameters
    assert report.as_json()["made_up"] == step["refitted"] == ["out_proj.bias"]
    assert step["source"]["digest"] == whole.digest
    out = last.load(last.save(small, tmp_path / "small"))
    checks = last.verify(out, whole).checks
    assert all(check.passed for check in checks), checks
    entries = out.index.config["file:config.json"].get("last_layers", [])
    assert has or [entry["bias"] for entry in entries] == [True] * len(whole.layers)
    tokens = model(name).recorded["tokens"]
    heads = run(last.prune(whole, keep=small.stamp), tokens)
    plain = {key: np.zeros_like(out.read([key])[key]) for layer in out.layers if (key := layer.leaves["out_proj.bias"])}
    assert plain.keys() <= out.leaves.keys() and not np.array_equal(run(out, tokens), heads)
    again = last.load(last.save(last.prune(out, 0.5, "random", target="channels"), tmp_path / "again"))
    assert all(("out_proj.bias" in layer.leaves) for layer in again.layers) and last.verify(again, out).passed
    assert last.verify(again, whole).passed
    if has:
        masked = last.prune(whole, 0.5, masked=True, **options)
        expected = run(masked, tokens)
        assert float(np.abs(run(out, tokens) - expected).max()) <= 1e-5 * float(np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("hf_base", {"masked": True}, "the model has none, and ⟦masked⟧ changes nothing in how it is made"),
        ("hf_base", {"stock": True, "scope": "layer"}, "the class of mamba2 has no bias of out_proj alone"),
        ("phi_mva", {}, "phi-mamba has a bias of out_proj only where in_proj has one"),
        ("ssm_mlp", {}, "mamba_ssm has a bias of out_proj only where in_proj has one"),
    ],
)
def test_where_there_is_no_room_it_is_left_out_and_said(name: str, more: Any, why: str, tmp_path: Path) -> None:
    small = last.prune(source(name), 0.5, **more, **asked(name, tmp_path))
    assert small.report is not None
    assert f"the criterion flap goes without its out_proj.bias: {why}" in small.report.warnings
    assert (
        all("out_proj.bias" not in layer.leaves for layer in small.layers)
        and "refitted" not in small.stamp["pruned"][0]
    )


def test_a_draft_has_it_as_the_result_will(tmp_path: Path) -> None:
    from last_cli.pruning.prune import prepare

    whole, options = last.load(source("hf_base")), asked("hf_base", tmp_path)
    recipe = Recipe("flap", target="heads")
    plan = prepare(whole, recipe, Calibration(calibration_file=options["calibration_file"]))
    tokens = model("hf_base").recorded["tokens"]
    draft, final = (run(plan.at(0.5, draft=draft).checkpoint, tokens) for draft in (True, False))
    assert float(np.abs(draft - final).max()) <= 1e-5 * float(np.abs(draft).max())
