"""Mixers of Mamba-2 are found by their tensors in what every library writes, and other layers are told from them."""

from __future__ import annotations

import json
import math
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from language_models import directories, model

import last_cli as last
from last_cli import formats
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.find import find_layers
from last_cli.families.mamba.dialect import TYPES as MAMBA_TYPES
from last_cli.families.mamba.dialect import settings as mamba_settings
from last_cli.families.mamba2 import modelling
from last_cli.families.mamba2.dialect import MAIN, TYPES, settings
from last_cli.families.mamba2.network.spec import language_spec
from last_cli.formats import Leaf

SIZES = {
    "hf_groups": ("mamba2", (4, 8), 3),
    "hf_bf16_sharded": ("mamba2", (1, 16), 3),
    "ssm_defaults": ("mamba2", (1, 128), 2),
    "ssm_mlp": ("mamba2", (1, 16), 2),
    "phi_mva": ("mamba2", (2, 8), 2),
    "llamba_base": ("mamba2", (4, 8), 2),
    "mil_base": ("mamba2", (2, 8), 2),
    "bamba": ("mamba2", (1, 16), 2),
    "falcon_h1_norm": ("mamba2", (2, 16), 2),
}


def tree(**shapes: tuple[int, ...]) -> dict[tuple[str, ...], Leaf]:
    keys = {tuple(name.split("__")): shape for name, shape in shapes.items()}
    return {key: Leaf(key, shape, "float32", "array") for key, shape in keys.items()}


@pytest.mark.parametrize("name", SIZES)
def test_a_directory_opens_as_a_checkpoint_of_mixers(name: str) -> None:
    opened = last.load(directories() / name / "checkpoint")
    kind, units, layers = SIZES[name]
    assert (opened.family, len(opened.layers)) == (kind, layers)
    blocks = {f"{block.prefix}.{block.mixer}".replace(".", "/"): block.sizes for _, block, _, _ in model(name).mixers()}
    for layer in opened.layers:
        found = layer.units["states"]
        assert (found.groups, found.count) == units
        sizes = blocks[layer.name]
        assert sizes is not None and (sizes.groups, sizes.states) == units
    assert not opened.said and not opened.assumed(opened.layer_options)


def test_inspect_names_the_layers_that_have_no_mixer(tmp_path: Path) -> None:
    found = last.inspect(directories() / "mil_base" / "checkpoint").as_json()
    assert found["untouched"] == [{"layers": ["model/layers/1"], "parts": ["mlp", "self_attn"]}]
    assert [layer["name"] for layer in found["layers"]] == ["model/layers/0/mamba", "model/layers/2/mamba"]
    assert found["config"] == {}


def test_options_that_nothing_depends_on_are_refused() -> None:
    with pytest.raises(UsageError, match=r"conj_sym.* is given, but nothing of .* depends on it"):
        last.load(directories() / "hf_base" / "checkpoint", conj_sym=True)


def test_a_gated_delta_net_is_no_mixer() -> None:
    names = {"A_log": (4,), "dt_bias": (4,), "conv1d__weight": (32, 1, 4), "in_proj_qkvz__weight": (64, 16)}
    names |= {"out_proj__weight": (16, 32), "norm__weight": (8,)}
    leaves = tree(**{f"model__layers__0__linear_attn__{name}": shape for name, shape in names.items()})
    with pytest.raises(CheckpointError, match=r"no SSM layer found.* It is a gated delta net"):
        find_layers(leaves)


def test_a_mixer_that_lost_its_d_is_no_gated_delta_net() -> None:
    index = formats.index(directories() / "hf_base" / "checkpoint")
    with pytest.raises(CheckpointError) as caught:
        find_layers({key: leaf for key, leaf in index.leaves.items() if key[-1] != "D"}, index.config)
    assert "gated" not in str(caught.value) and "D" in str(caught.value)


def test_groups_that_do_not_fit_the_tensors_are_named(tmp_path: Path) -> None:
    directory = shutil.copytree(directories() / "hf_groups" / "checkpoint", tmp_path / "model")
    config = json.loads((directory / "config.json").read_text())
    for groups, said in ((3, "do not divide into 6 groups, twice"), ("many", "n_groups is 'many', expected a number")):
        (directory / "config.json").write_text(json.dumps({**config, "n_groups": groups}))
        with pytest.raises(CheckpointError, match=said):
            last.load(directory)


def test_a_converted_model_may_keep_the_configuration_of_mamba_ssm() -> None:
    main = {"model_type": "mamba2", "n_groups": 2, "ssm_cfg": {"ngroups": 5}}
    assert (settings({MAIN: main}).name, settings({MAIN: main}).groups) == ("mamba2", 2)


@pytest.mark.parametrize(
    ("case", "changes", "said"),
    [
        ("hf_base", {"model_type": []}, r"names the model type \[\]"),
        ("hf_base", {"layer_norm_epsilon": 10**400}, "layer_norm_epsilon is 1000"),
        ("hf_base", {"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon is nan"),
        ("hf_base", {"layer_norm_epsilon": -1e-5}, "layer_norm_epsilon is -1e-05, expected a small number, 0 or more"),
        ("ssm_bf16", {"ssm_cfg": [1]}, r"ssm_cfg is \[1\], expected an object"),
        ("ssm_bf16", {"ssm_cfg": {"dt_limit": 3}}, "dt_limit is 3, expected 2 numbers"),
        ("phi_mva", {"Block1": "x"}, "Block1 is 'x', expected an object"),
        ("bamba", {"num_attention_heads": None}, "num_attention_heads is None"),
        ("bamba", {"num_attention_heads": 3}, "q_proj has"),
        ("bamba", {"mlp_multipliers": 1}, "mlp_multipliers is 1, expected 2 numbers"),
        ("bamba", {"logits_scaling": 0}, "logits_scaling is 0"),
        ("bamba", {"partial_rotary_factor": 7}, "turn no heads"),
        ("bamba", {"rope_parameters": [1]}, "rope_parameters is"),
    ],
)
def test_values_that_are_none(case: str, changes: dict[str, Any], said: str) -> None:
    index = formats.index(directories() / case / "checkpoint")
    config = {**index.config["file:config.json"], **changes}
    config = {key: value for key, value in config.items() if key != "rope_parameters" or key in changes}
    shapes = {".".join(key): leaf.shape for key, leaf in index.leaves.items()}
    with pytest.raises(CheckpointError, match=said):
        language_spec(shapes, {**index.config, "file:config.json": config})


@pytest.mark.parametrize(("kind", "least"), [("nemotron_h", 0.001), ("zamba2", 0.001), ("bamba", 0.0)])
def test_the_smallest_step_is_the_usual_one_where_none_is_said(kind: str, least: float) -> None:
    assert settings({MAIN: {"model_type": kind}}).limit == (least, math.inf)
    assert settings({MAIN: {"model_type": kind, TYPES[kind].limit: None}}).limit == (least, math.inf)


@pytest.mark.parametrize(
    ("prefix", "root", "head"),
    [
        ("", "model", "lm_head"),
        ("language_model.", "language_model.model", "language_model.lm_head"),
        ("model.language_model.", "model.language_model", "lm_head"),
    ],
)
def test_a_model_of_several_kinds_of_data_has_one_of_language(prefix: str, root: str, head: str) -> None:
    index = formats.index(directories() / "bamba" / "checkpoint")
    config, shapes = index.config[MAIN], {".".join(key): leaf.shape for key, leaf in index.leaves.items()}
    plain = language_spec(shapes, index.config)
    own = root.removesuffix("model") if root.endswith(".model") else ""
    named = {
        (name.replace("model", root, 1) if name.startswith("model.") else own + name): s for name, s in shapes.items()
    }
    assert not prefix or set(named) != set(shapes)
    tower = {"vision_tower.layers.0.attention.weight": (4, 4)} if prefix else {}
    files = {MAIN: {"model_type": "llava_next", "text_config": config}} if prefix else index.config
    spec = language_spec({**named, **tower}, files)
    assert (spec.embedding, spec.head) == (f"{root}.embed_tokens", head)
    assert spec.blocks == tuple(
        replace(block, prefix=block.prefix.replace("model", root, 1)) for block in plain.blocks
    ) and (spec.eps, spec.factors) == (plain.eps, plain.factors)


def test_a_second_model_or_none_is_named() -> None:
    index = formats.index(directories() / "hf_base" / "checkpoint")
    shapes = {".".join(key): leaf.shape for key, leaf in index.leaves.items()}
    other = {name.replace("backbone", "draft.backbone"): shape for name, shape in shapes.items()}
    with pytest.raises(CheckpointError, match=r"below backbone, draft\.backbone, expected one"):
        language_spec(shapes | other, index.config)


def test_another_model_type_is_named(tmp_path: Path) -> None:
    directory = shutil.copytree(directories() / "hf_base" / "checkpoint", tmp_path / "model")
    (directory / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match="names the model type 'gpt2', expected one of"):
        last.load(directory)


def test_hybrid_layers_are_no_copies_of_others() -> None:
    """Zamba2 has mixers at layers.i.mamba, and at layers.j.mamba_decoder.mamba beside other parts."""
    mixer = {"A_log": (4,), "D": (4,), "dt_bias": (4,), "in_proj__weight": (84, 8), "conv1d__weight": (48, 1, 4)}
    mixer |= {"out_proj__weight": (8, 32), "norm__weight": (32,)}
    shapes = {f"{place}__mamba__{name}": shape for name, shape in mixer.items() for place in ("l__0", "l__1__decoder")}
    shapes |= {f"{place}__input_layernorm__weight": (8,) for place in ("l__0", "l__1__decoder")}
    config = {"file:config.json": {"model_type": "zamba2", "mamba_ngroups": 1}}
    layers = find_layers(tree(**shapes), config)
    assert [layer.name for layer in layers] == ["l/0/mamba", "l/1/decoder/mamba"]
    assert all("../input_layernorm.weight" in layer.leaves for layer in layers)
    assert [layer.sizes.states for layer in layers] == [8, 8]
    short = {name: shape for name, shape in shapes.items() if "in_proj" not in name}
    short |= {f"{place}__mamba__in_proj__weight": (72, 8) for place in ("l__0", "l__1__decoder")}
    with pytest.raises(CheckpointError, match=r"l/0/mamba: in_proj\.weight has 72 rows, expected 84"):
        find_layers(tree(**short), config)


def test_the_modelling_file_has_the_keys_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, library, ModuleType(library))
    theirs = runpy.run_path(str(Path(modelling.__file__).with_name(modelling.FILE)))["KEYS"]
    ours = {}
    for name, keys in TYPES.items():
        inner = keys.inner[0] if keys.inner else None
        stock = modelling.CLASSES[name].removeprefix("Last")
        ours[stock] = ((keys.states, keys.heads, keys.head_dim, keys.groups), inner)
    for name, keys in MAMBA_TYPES.items():
        stock = modelling.CLASSES[name].removeprefix("Last")
        ours[stock] = ((keys.states, keys.heads, None, None), keys.inner or keys.expand)
    assert theirs == ours


def test_groups_that_are_heads_are_told_by_lists_and_by_the_modelling_file() -> None:
    entry = {"states": 8, "heads": 3, "head_dim": 8, "eps": 1e-5}
    main = {"model_type": "mamba2", "n_groups": 8, "num_heads": 8, "last_layers": [entry]}
    assert settings({MAIN: main}).own_groups and not settings({MAIN: {**main, "num_heads": 16}}).own_groups
    lists = {"ssm_cfg": {"ngroups": 4}, "ngroups_list": [3, 1], "nheads_list": [3, 1], "norm_eps_list": [1e-5, 2e-5]}
    said = settings({MAIN: lists})
    assert said.own_groups and [said.eps_of(i, "it") for i in range(2)] == [1e-5, 2e-5]
    with pytest.raises(CheckpointError, match="norm_eps_list has 2 entries, and none for it"):
        said.eps_of(2, "it")
    with pytest.raises(CheckpointError, match=r"ngroups_list is \[3, 1\], expected one number for all"):
        settings({MAIN: {**lists, "nheads_list": [6, 2]}})
    with pytest.raises(CheckpointError, match="norm_eps_list is 1, expected a list of numbers"):
        settings({MAIN: {**lists, "norm_eps_list": 1}})


@pytest.mark.parametrize("said", [[1], {"a": 1}, None, 3])
def test_a_model_type_that_is_no_name_is_none_of_those_known(said: object) -> None:
    assert modelling.loader({MAIN: {"model_type": said}}) is None
    for settings_of in (settings, mamba_settings):
        with pytest.raises(CheckpointError, match="names the model type"):
            settings_of({MAIN: {"model_type": said}})
        assert settings_of({MAIN: {"model_type": said, "ssm_cfg": {}}}).name == "mamba_ssm"


@pytest.mark.parametrize(("said", "turned"), [("rope", True), ("nope", False), (None, False), ("missing", False)])
def test_granite_turns_positions_only_where_it_is_told_to(said: str | None, turned: bool) -> None:
    index = formats.index(directories() / "granite_dense" / "checkpoint")
    main = {**index.config[MAIN], "position_embedding_type": said}
    if said == "missing":
        del main["position_embedding_type"], main["attention_multiplier"]
    shapes = {".".join(key): leaf.shape for key, leaf in index.leaves.items()}
    attends = next(block.attends for block in language_spec(shapes, {MAIN: main}).blocks if block.attends)
    assert (attends.base is not None) is turned
    assert said != "missing" or attends.scale == 1.0


@pytest.mark.parametrize("kind", TYPES)
def test_an_activation_that_is_not_known_is_refused(kind: str) -> None:
    key = TYPES[kind].activation
    said = settings({MAIN: {"model_type": kind, "hidden_act": "silu" if key else "gelu"}})
    assert said.activation == "silu" and said.groups == TYPES[kind].usual_groups
    if key:
        with pytest.raises(CheckpointError, match="the activation 'gelu' is not known"):
            settings({MAIN: {"model_type": kind, key: "gelu"}})


def test_attention_of_mamba_ssm_is_left_as_it_is() -> None:
    index = formats.index(directories() / "ssm_bf16" / "checkpoint")
    shapes = {
        "in_proj.weight": (96, 32),
        "conv1d.weight": (96, 1, 4),
        "conv1d.bias": (96,),
        "out_proj.weight": (32, 32),
    }
    names = {("backbone", "layers", "9", "mixer", *name.split(".")): shape for name, shape in shapes.items()}
    names[("backbone", "layers", "9", "norm", "weight")] = (32,)
    leaves = {**index.leaves, **{key: Leaf(key, shape, "float32", "array") for key, shape in names.items()}}
    assert [layer.name for layer in find_layers(leaves, index.config)] == [
        layer.name for layer in find_layers(index.leaves, index.config)
    ]
    lost = {("backbone", "layers", "9", "mixer", name): (8,) for name in ("D", "dt_bias")}
    with pytest.raises(CheckpointError, match="no A_log"):
        find_layers({**leaves, **{k: Leaf(k, shape, "float32", "array") for k, shape in lost.items()}}, index.config)
    with pytest.raises(CheckpointError, match="no mixer of Mamba-2"):
        language_spec({".".join(key): leaf.shape for key, leaf in leaves.items()}, index.config)


@pytest.mark.parametrize("limit", ["inf", [0.5, 0.1], [0.1], [0.1, None], 3])
def test_limits_of_the_step_that_are_none_are_refused(limit: Any) -> None:
    for main in ({"model_type": "bamba", "time_step_limit": limit}, {"ssm_cfg": {"dt_limit": limit}}):
        with pytest.raises(CheckpointError, match=r"_limit (is|goes)"):
            settings({MAIN: main})
    for main in ({"model_type": "bamba", "time_step_limit": None}, {"ssm_cfg": {}}):
        assert settings({MAIN: main}).limit == (0.0, float("inf"))
    assert settings({MAIN: {"model_type": "zamba2", "time_step_min": 0.1}}).limit == (0.1, float("inf"))
