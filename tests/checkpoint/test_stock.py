"""A model of mamba_ssm becomes a directory of transformers: the same numbers, sizes from the tensors, or a refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from language_models import model, opened
from safetensors.numpy import load_file, save_file

import last_cli as last
from last_cli.base.errors import CheckpointError, OutputError, UsageError
from last_cli.families.mamba2.network.forward import logits

CASES = ["ssm_defaults", "ssm_bf16", "ssm_groups_eq_heads"]


def exported(source: Path, out: Path) -> dict[str, Any]:
    last.export_weights(source, out, to="hf")
    return json.loads((out / "config.json").read_text())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model of mamba_ssm in safetensors, whose files a test may change."""
    directory, case = tmp_path / "model", model("ssm_defaults")
    shutil.copytree(case.directory / "checkpoint", directory)
    (directory / "pytorch_model.bin").unlink()
    save_file(dict(case.tensors), directory / "model.safetensors")
    return directory


def edited(directory: Path, *, tensors: dict[str, Any] | None = None, core: Any = None, **top: Any) -> None:
    """Changes tensors and settings; a tensor that is None goes."""
    config = json.loads((directory / "config.json").read_text())
    config |= top
    config["ssm_cfg"] |= core or {}
    (directory / "config.json").write_text(json.dumps(config))
    arrays = load_file(directory / "model.safetensors") | (tensors or {})
    save_file({name: a for name, a in arrays.items() if a is not None}, directory / "model.safetensors")


def test_our_network_gives_the_recorded_logits_of_what_was_exported(tmp_path: Path) -> None:
    case = model("ssm_groups_eq_heads")
    exported(case.directory / "checkpoint", tmp_path / "hf")
    spec, tensors = opened(tmp_path / "hf")
    tokens, recorded = case.recorded["tokens"], case.recorded["logits"]
    found = np.asarray(jax.jit(lambda t, x: logits(spec, t, x))(tensors, jnp.asarray(tokens)))
    assert np.abs(found - recorded).max() <= 1e-5 * case.recorded["scale"]


@pytest.mark.parametrize("name", CASES)
def test_numbers_stay_and_sizes_are_those_of_the_tensors(tmp_path: Path, name: str) -> None:
    case = model(name)
    source = tmp_path / "source"
    shutil.copytree(case.directory / "checkpoint", source)
    (source / "tokenizer.json").write_text("{}")
    config = exported(source, tmp_path / "hf")
    sizes = case.spec.blocks[0].sizes
    assert sizes is not None
    wanted = {"num_heads": sizes.heads, "head_dim": sizes.head_dim, "state_size": sizes.states, "vocab_size": 64}
    wanted |= {"n_groups": sizes.groups, "hidden_size": 32, "expand": 2, "conv_kernel": 4, "tie_word_embeddings": True}
    assert {key: config[key] for key in wanted} == wanted
    assert config["torch_dtype"] == ("bfloat16" if name == "ssm_bf16" else "float32")
    _, tensors = opened(tmp_path / "hf")
    names = {name.replace("embedding.", "embeddings."): name for name in case.tensors if name != "lm_head.weight"}
    assert set(tensors) == set(names)
    assert all((tensors[new] == case.tensors[old]).all() for new, old in names.items())
    files = {file.name for file in (tmp_path / "hf").iterdir()}
    assert files == {"config.json", "model.safetensors", "tokenizer.json", "last.json"}
    assert last.verify(tmp_path / "hf").passed
    assert last.load(tmp_path / "hf").digest == last.load(source).digest
    with pytest.raises(OutputError, match="exists already"):
        exported(source, tmp_path / "hf")
    last.export_weights(source, tmp_path / "hf", to="hf", force=True)


def test_a_pruned_model_keeps_its_history(tmp_path: Path, source: Path) -> None:
    small = last.prune(source, ratio=0.5)
    last.export_weights(small, tmp_path / "hf", to="hf")
    found = last.load(tmp_path / "hf")
    assert found.stamp["pruned"] == small.stamp["pruned"] and found.layers[0].sizes.states == 64


def no_norm(directory: Path) -> None:
    edited(directory, core={"rmsnorm": False})


def norm_first(directory: Path) -> None:
    edited(directory, core={"norm_before_gate": True})


def wide_d(directory: Path) -> None:
    edited(directory, core={"D_has_hdim": True}, tensors={f"backbone.layers.{i}.mixer.D": D for i in range(2)})


def feed_forward(directory: Path) -> None:
    edited(directory, tensors={"backbone.layers.0.mlp.fc1.weight": D, "backbone.layers.0.norm2.weight": D})


def attention(directory: Path) -> None:
    edited(directory, tensors={"backbone.layers.2.mixer.Wqkv.weight": D[None]})


def unlike_layers(directory: Path) -> None:
    keep = {"target": "states", "layers": [{"kept": [[0, 1, 2]]}, {"kept": [[0, 1]]}]}
    last.save(last.prune(directory, keep=keep), directory.with_name("ragged"))
    shutil.rmtree(directory)
    directory.with_name("ragged").rename(directory)


def unknown(directory: Path) -> None:
    edited(directory, core={"A_scale": 2})


D = np.ones(64, np.float32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_norm, r"no norm behind the gate \(rmsnorm false\)"),
        (norm_first, r"norms stand before the gate \(norm_before_gate\)"),
        (wide_d, r"D has an entry for every channel \(D_has_hdim\)"),
        (feed_forward, r"feed-forward parts \(d_intermediate\)"),
        (attention, r"layers of attention \(attn_layer_idx\)"),
        (unlike_layers, "its layers have 2 to 3 states"),
        (unknown, "ssm_cfg has A_scale"),
    ],
)
def test_what_the_class_computes_otherwise_is_refused(
    tmp_path: Path, source: Path, change: Callable[[Path], None], reason: str
) -> None:
    change(source)
    with pytest.raises(UsageError, match=reason):
        last.export_weights(source, tmp_path / "hf", to="hf")
    assert not (tmp_path / "hf").exists()


def test_a_head_of_its_own_in_a_tied_model_is_refused_and_an_untied_one_goes_along(
    tmp_path: Path, source: Path
) -> None:
    head = load_file(source / "model.safetensors")["lm_head.weight"] + 1
    edited(source, tensors={"lm_head.weight": head})
    with pytest.raises(CheckpointError, match=r"lm_head\.weight differs from backbone\.embedding\.weight"):
        last.export_weights(source, tmp_path / "hf", to="hf")
    edited(source, tie_embeddings=False)
    assert exported(source, tmp_path / "hf")["tie_word_embeddings"] is False
    assert (opened(tmp_path / "hf")[1]["lm_head.weight"] == head).all()
    edited(source, tensors={"lm_head.weight": None})
    with pytest.raises(CheckpointError, match="tie_embeddings false, and there is no tensor"):
        last.export_weights(source, tmp_path / "again", to="hf")


def test_other_models_and_names_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes models of mamba_ssm, and this is one of mamba2"):
        last.export_weights(model("hf_base").directory / "checkpoint", tmp_path / "hf", to="hf")
    with pytest.raises(UsageError, match="names a file"):
        last.export_weights(model("ssm_defaults").directory / "checkpoint", tmp_path / "hf.safetensors", to="hf")
