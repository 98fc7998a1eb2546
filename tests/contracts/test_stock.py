"""What `last prune` and `last export` write of language models loads in transformers, which computes what ours does.

In the stock class where all layers are as large, and with our modelling file where they are not. Runs where the extra
`oracle` is installed (torch, transformers); skipped elsewhere.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from language_models import Model, model, opened

import last_cli as last
from last_cli.families.mamba2.modelling import AUTO_MAP, CLASSES, LAST_LAYERS
from last_cli.families.mamba2.network.forward import logits

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")
torch.set_num_threads(1)  # Models of this size gain nothing from more.

CASES = ["hf_base", "hf_groups", "hf_bf16_sharded", "bamba", "granite_dense", "falcon_h1_norm"]
TOLERANCE = 1e-5
WAYS: dict[str, dict[str, Any]] = {
    "uniform": {"ratio": 0.5},
    "filled up": {"ratio": 0.4, "scope": "global", "multiple_of": 1, "stock": True},
}
OWN_SIZES: dict[str, Any] = {"ratio": 0.4, "scope": "global", "multiple_of": 1}
RANDOM: dict[str, dict[str, Any]] = {  # types that no network of ours runs
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "linear_attention", "mlp", "full_attention"],
        "head_dim": 8,
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 2,
        "ssm_state_size": 16,
        "time_step_min": 0.05,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention"],
        "num_hidden_layers": 3,
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
        "mamba_ngroups": 2,
        "mamba_d_state": 16,
        "num_mem_blocks": 1,
        "hybrid_layer_ids": [1],
    },
}
ALL = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "chunk_size": 16}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of models is copied to where nothing stays."""
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")


def loaded(out: Path, **options: Any) -> Any:
    """A directory in transformers; no key is missing, unexpected or mismatched."""
    options = {"dtype": torch.float32, **options}
    found, said = transformers.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True, **options)
    assert not any(said.values()), said
    return found


def answers(found: Any, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return found(torch.tensor(tokens)).logits.float().numpy()


def ours(out: Path, tokens: np.ndarray) -> np.ndarray:
    spec, tensors = opened(out)
    return np.asarray(jax.jit(lambda tensors, tokens: logits(spec, tensors, tokens))(tensors, jnp.asarray(tokens)))


def agree(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.abs(one - other).max()) <= TOLERANCE * float(np.abs(other).max())


def generated(found: Any, tokens: np.ndarray) -> list[Any]:
    """16 tokens behind the first few, with the cache and without."""
    start, options = torch.tensor(tokens[:1, :8]), {"min_new_tokens": 16, "max_new_tokens": 16, "do_sample": False}
    return [found.generate(start, use_cache=cached, **options).tolist() for cached in (True, False)]


def kept(case: Model, layers: int) -> dict[str, Any]:
    return {"layers": [{"kept": case.recorded[f"states_ragged/layer{i}"].tolist()} for i in range(layers)]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_the_stock_class_computes_the_same(tmp_path: Path, name: str, way: str) -> None:
    whole = model(name)
    out = last.save(last.prune(whole.directory / "checkpoint", **WAYS[way]), tmp_path / "small")
    tokens = whole.recorded["tokens"]
    assert agree(ours(out, tokens), answers(loaded(out), tokens))


@pytest.mark.parametrize(
    "name", ["hf_base", "hf_groups", "bamba", "granite_dense", "falcon_h1_norm", "hf_bf16_sharded"]
)
def test_fewer_heads_compute_what_the_library_did_with_zeros(tmp_path: Path, name: str) -> None:
    case = model(name)
    source, tokens = case.directory / "checkpoint", case.recorded["tokens"]
    heads = [{"kept": case.recorded[f"heads50/layer{i}"].tolist()} for i in range(len(last.load(source).layers))]
    small = last.prune(source, keep={"target": "heads", "layers": heads})
    out = last.save(small, tmp_path / "small")
    theirs = answers(loaded(out, trust_remote_code=name == "hf_bf16_sharded"), tokens)
    assert agree(theirs, case.recorded["heads50/logits"])
    half = last.save(last.prune(source, ratio=0.5, target="heads", stock=True), tmp_path / "half")
    assert loaded(half).config.model_type == small.index.config["file:config.json"]["model_type"]


@pytest.mark.parametrize("name", ["hf_groups", "bamba", "granite_dense", "falcon_h1_norm"])
def test_the_modelling_file_computes_what_the_library_did_with_zeros(tmp_path: Path, name: str) -> None:
    case = model(name)
    source, tokens = case.directory / "checkpoint", case.recorded["tokens"]
    out = last.save(last.prune(source, keep=kept(case, len(last.load(source).layers))), tmp_path / "small")
    theirs = loaded(out, trust_remote_code=True)
    assert type(theirs).__name__ == CLASSES[theirs.config.model_type]
    assert agree(answers(theirs, tokens), case.recorded["states_ragged/logits"])
    assert agree(ours(out, tokens), answers(theirs, tokens))
    cached, again = generated(theirs, tokens)
    assert cached == again
    theirs.save_pretrained(tmp_path / "saved")
    saved = loaded(tmp_path / "saved", trust_remote_code=True)
    np.testing.assert_array_equal(answers(saved, tokens), answers(theirs, tokens))
    with pytest.raises(RuntimeError, match="mismatch"):
        loaded(out)


@pytest.mark.parametrize("name", ["hf_groups", "falcon_h1_norm"])
def test_merged_groups_compute_the_same_by_the_modelling_file(tmp_path: Path, name: str) -> None:
    case = model(name)
    out = last.save(last.prune(case.directory / "checkpoint", 0.5, "merge"), tmp_path / "small")
    theirs, tokens = loaded(out, trust_remote_code=True), case.recorded["tokens"]
    assert agree(ours(out, tokens), answers(theirs, tokens))
    cached, again = generated(theirs, tokens)
    assert cached == again
    with pytest.raises(RuntimeError, match="mismatch"):
        loaded(out)


@pytest.mark.parametrize("name", ["hf_groups", "bamba", "granite_dense", "falcon_h1_norm", "hf_bf16_sharded"])
def test_fewer_blocks_load_in_the_stock_class(tmp_path: Path, name: str) -> None:
    case = model(name)
    np.savez(tmp_path / "tokens.npz", x=np.random.default_rng(0).integers(0, 60, (2, 24)))
    small = last.prune(case.directory / "checkpoint", 0.3, "loss", calibration_file=tmp_path / "tokens.npz")
    out, tokens = last.save(small, tmp_path / "small"), case.recorded["tokens"]
    assert agree(ours(out, tokens), answers(loaded(out), tokens))


def test_a_bias_of_out_proj_alone_loads_by_the_modelling_file(tmp_path: Path) -> None:
    case = model("hf_base")
    np.savez(tmp_path / "tokens.npz", x=np.random.default_rng(0).integers(0, 60, (2, 24)))
    asked: dict[str, Any] = {"target": "heads", "calibration_file": tmp_path / "tokens.npz"}
    out = last.save(last.prune(case.directory / "checkpoint", 0.5, "flap", **asked), tmp_path / "small")
    theirs, tokens = loaded(out, trust_remote_code=True), case.recorded["tokens"]
    assert agree(ours(out, tokens), answers(theirs, tokens))


def test_a_state_dict_that_was_written_anew_loads_in_torch(tmp_path: Path) -> None:
    case = model("ssm_mlp")
    np.savez(tmp_path / "tokens.npz", x=np.random.default_rng(0).integers(0, 60, (2, 24)))
    small = last.prune(case.directory / "checkpoint", 0.5, "loss", calibration_file=tmp_path / "tokens.npz")
    out = last.save(small, tmp_path / "small")
    found = torch.load(out / "pytorch_model.bin", weights_only=True)
    assert found["lm_head.weight"].data_ptr() == found["backbone.embedding.weight"].data_ptr()
    theirs = {name: tensor.numpy() for name, tensor in found.items()}
    assert theirs.keys() == {".".join(key) for key in small.leaves}
    assert all((theirs[".".join(key)] == array).all() for key, array in small.read(small.leaves).items())


def test_half_precision_stays(tmp_path: Path) -> None:
    case = model("hf_bf16_sharded")
    out = last.save(last.prune(case.directory / "checkpoint", **OWN_SIZES), tmp_path / "small")
    theirs = loaded(out, trust_remote_code=True, dtype="auto")
    assert {tensor.dtype for tensor in theirs.state_dict().values()} == {torch.bfloat16}
    tokens = case.recorded["tokens"]
    assert agree(ours(out, tokens), answers(loaded(out, trust_remote_code=True), tokens))


@pytest.mark.parametrize("name", RANDOM)
def test_types_that_no_network_of_ours_runs_compute_what_they_do_with_zeros(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, num_key_value_heads=4, **ALL, **RANDOM[name])
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "whole")
    whole = last.load(tmp_path / "whole")
    keep = {"layers": [{"kept": [list(range(i, i + 6 + i))] * 2} for i, _ in enumerate(whole.layers)]}
    masked = last.save(last.prune(whole, keep=keep, masked=True), tmp_path / "masked")
    out = last.save(last.prune(whole, keep=keep), tmp_path / "small")
    tokens, theirs = np.arange(33)[None] % 96, loaded(out, trust_remote_code=True)
    assert agree(answers(theirs, tokens), answers(loaded(masked), tokens))
    cached, again = generated(theirs, tokens)
    assert cached == again


@pytest.mark.parametrize("name", ["hf_groups", "granite_dense", "falcon_h1_norm"])
def test_heads_channels_and_epsilons_are_those_of_each_layer(tmp_path: Path, name: str) -> None:
    case = model(name)
    source, tokens = case.directory / "checkpoint", case.recorded["tokens"]
    out = last.save(last.prune(source, keep=kept(case, len(last.load(source).layers))), tmp_path / "small")
    config = json.loads((out / "config.json").read_text())
    for i, entry in enumerate(config[LAST_LAYERS]):
        entry.update(heads=4 * (i + 1), head_dim=4 * (i % 2 + 1), eps=0.3 * (i + 1))
    (out / "config.json").write_text(json.dumps(config))
    read = transformers.AutoConfig.from_pretrained(out)
    torch.manual_seed(0)
    found = transformers.AutoModelForCausalLM.from_config(read, trust_remote_code=True)
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    found.save_pretrained(tmp_path / "random")
    theirs = loaded(tmp_path / "random", trust_remote_code=True)
    assert json.loads((tmp_path / "random" / "config.json").read_text())[AUTO_MAP] == config[AUTO_MAP]
    assert agree(ours(tmp_path / "random", tokens), answers(theirs, tokens))
    cached, again = generated(theirs, tokens)
    assert cached == again
    half = loaded(tmp_path / "random", trust_remote_code=True, dtype=torch.bfloat16)
    single = [name for name, tensor in half.state_dict().items() if tensor.dtype == torch.float32]
    norms = [name for name in half.state_dict() if name.endswith(("mixer.norm.weight", "mamba.norm.weight"))]
    assert single == norms and len(norms) == len(config[LAST_LAYERS])
    assert np.isfinite(answers(half, tokens)).all()


def code(tmp_path: Path) -> Any:
    """The modelling file as a module, through a directory that it goes with."""
    case = model("hf_base")
    out = last.save(last.prune(case.directory / "checkpoint", **OWN_SIZES), tmp_path / "small")
    return sys.modules[type(loaded(out, trust_remote_code=True)).__module__]


def test_a_head_that_is_a_group_of_its_own_takes_its_pairs_along(tmp_path: Path) -> None:
    entries = [{"states": 4 * i, "heads": 2 * i, "head_dim": 8, "eps": 1e-5} for i in (1, 2)]
    sizes = {"vocab_size": 96, "hidden_size": 32, "num_heads": 8, "head_dim": 8, "n_groups": 8, "num_hidden_layers": 2}
    made = code(tmp_path).LastMamba2ForCausalLM(transformers.Mamba2Config(**sizes, last_layers=entries)).eval()
    mixers = [layer.mixer for layer in made.backbone.layers]
    assert [mixer.n_groups for mixer in mixers] == [2, 4]
    assert [mixer.conv1d.weight.shape[0] for mixer in mixers] == [8 * 2 + 2 * 2 * 4, 8 * 4 + 2 * 4 * 8]
    cached, again = generated(made, np.arange(33)[None])
    assert cached == again


def test_a_cache_of_transformers_4_gets_room_for_each_layer(tmp_path: Path) -> None:
    module = code(tmp_path)
    sizes = {"num_heads": 2, "head_dim": 8, "ssm_state_size": 3, "A_log": torch.zeros(2)}
    sizes["conv1d"] = SimpleNamespace(weight=torch.zeros(20, 1, 4))
    mixer = SimpleNamespace(layer_idx=1, **sizes)
    one = SimpleNamespace(conv_states=torch.zeros(2, 5, 30, 4), ssm_states=torch.zeros(2, 5, 2, 8, 7))
    several = SimpleNamespace(conv_states=list(one.conv_states), ssm_states=list(one.ssm_states))
    for cache in (one, several):
        module._make_room(mixer, (), {"cache_params": cache})
        assert [tuple(states.shape) for states in cache.conv_states] == [(5, 30, 4), (5, 20, 4)]
        assert [tuple(states.shape) for states in cache.ssm_states] == [(5, 2, 8, 7), (5, 2, 8, 3)]
        cache.ssm_states[1].fill_(1.0)
        module._make_room(mixer, (None, cache), {})
        assert cache.ssm_states[1].all()
    assert one.conv_states.device == torch.device("cpu")
    first = SimpleNamespace(layer_idx=0, A_log=torch.zeros(30, 3), conv1d=SimpleNamespace(weight=torch.zeros(30, 1, 4)))
    mamba1 = SimpleNamespace(conv_states=[torch.zeros(5, 30, 4)], ssm_states=[torch.zeros(5, 30, 16)])
    module._make_room(first, (), {"cache_params": mamba1})
    assert [tuple(states[0].shape) for states in (mamba1.conv_states, mamba1.ssm_states)] == [(5, 30, 4), (5, 30, 3)]


def test_a_model_without_such_sizes_is_the_stock_one(tmp_path: Path) -> None:
    module, case = code(tmp_path), model("hf_base")
    plain = module.LastMamba2ForCausalLM.from_pretrained(case.directory / "checkpoint", dtype=torch.float32)
    assert agree(answers(plain, case.recorded["tokens"]), case.recorded["logits"])
    with pytest.raises(AttributeError, match="has no attribute 'LastLlamaForCausalLM'"):
        _ = module.LastLlamaForCausalLM
    short = transformers.Mamba2Config(num_hidden_layers=2, hidden_size=32, num_heads=8, head_dim=8, last_layers=[{}])
    with pytest.raises(ValueError, match="last_layers has 1 entries, and the model 2 mixers"):
        module.LastMamba2ForCausalLM(short)


@pytest.mark.parametrize("name", ["ssm_defaults", "ssm_bf16", "ssm_groups_eq_heads"])
def test_what_was_exported_from_mamba_ssm_computes_what_mamba_ssm_does(tmp_path: Path, name: str) -> None:
    whole = model(name)
    last.export_weights(whole.directory / "checkpoint", tmp_path / "hf", to="hf")
    theirs = answers(loaded(tmp_path / "hf"), whole.recorded["tokens"])
    assert np.abs(whole.recorded["logits"] - theirs).max() <= TOLERANCE * whole.recorded["scale"]
