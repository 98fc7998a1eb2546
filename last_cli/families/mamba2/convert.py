"""A model of mamba_ssm as the stock class Mamba2ForCausalLM of transformers has it, where the two compute the same.

Each has switches that the other lacks: what transformers does not compute is refused, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.layer import Layer
from last_cli.families.mamba2.dialect import MAIN, Settings, settings, whole
from last_cli.families.mamba2.mixer import Mixer, mixer
from last_cli.families.stock import Stock
from last_cli.families.target import Shapes
from last_cli.formats import Key

CLASS = "Mamba2ForCausalLM"
EMBEDDING, HEAD, NORM = "backbone.embedding.weight", "lm_head.weight", "backbone.norm_f.weight"
EPS = 1e-5
"""Of all norms of mamba_ssm: a constant of its classes."""

_REQUIRED = ("A_log", "D", "dt_bias", "norm.weight", "in_proj.weight", "conv1d.weight", "out_proj.weight")
_BIASES = ("in_proj.bias", "conv1d.bias", "out_proj.bias")
_TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
"""Where no file says them, those of GPT-NeoX, whose tokenizer the published models of mamba_ssm have."""

_OTHERS = {
    "mixer.Wqkv": "layers of attention (attn_layer_idx)",
    "mlp": "feed-forward parts (d_intermediate)",
    "norm2": "feed-forward parts (d_intermediate)",
}
_CORE = frozenset({
    "layer", "d_state", "d_conv", "conv_init", "expand", "headdim", "d_ssm", "ngroups", "A_init_range", "D_has_hdim",
    "rmsnorm", "norm_before_gate", "dt_min", "dt_max", "dt_init_floor", "dt_limit", "bias", "conv_bias", "chunk_size",
    "use_mem_eff_path", "activation", "sequence_parallel",
})  # fmt: skip


def stock(files: Mapping[str, Any], layers: Sequence[Layer], shapes: Mapping[Key, tuple[int, ...]]) -> Stock:
    """The model in the class of transformers; see Family.stock.

    Raises:
        UsageError: it is no model of mamba_ssm, or computes what the class does not; says what.
        CheckpointError: a tensor is missing.
    """
    said, main = settings(files), files.get(MAIN) or {}
    if said.name != "mamba_ssm":
        raise UsageError(
            f"⟦to hf⟧ takes models of mamba_ssm, and this is one of {said.name}",
            "a model of transformers is a directory of Hugging Face already; others compute what no class of it does",
        )
    named = {".".join(key): shape for key, shape in shapes.items()}
    mixers = [mixer({name: shapes[key] for name, key in layer.leaves.items()}, said) for layer in layers]
    _refuse(_unlike(main, said, mixers, named))
    names = _names([".".join(next(iter(layer.leaves.values()))[:3]) for layer in layers], named)
    tied = bool(main.get("tie_embeddings", True))
    if not tied and HEAD not in named:
        raise CheckpointError(f"config.json says tie_embeddings false, and there is no tensor {HEAD}")
    tensors = {new: _key(old) for new, old in {**names, **({} if tied else {HEAD: HEAD})}.items()}
    equal = (_key(EMBEDDING), _key(HEAD)) if tied and HEAD in named else None
    return Stock(CLASS, _config(files, mixers, named, tied), tensors, equal, _warnings(mixers[0]))


def _key(name: str) -> Key:
    return tuple(name.split("."))


def _refuse(reason: str | None) -> None:
    if reason:
        raise UsageError(
            f"⟦to hf⟧: {CLASS} of transformers would compute something else: {reason}",
            "mamba_ssm runs the model as it is",
        )


def _unlike(main: Mapping[str, Any], said: Settings, mixers: Sequence[Mixer], shapes: Shapes) -> str | None:
    """The first thing that the class does not compute."""
    if unknown := sorted({*(main["ssm_cfg"] or {})} - _CORE):
        return f"ssm_cfg has {unknown[0]}, and nothing here says what that changes"
    if eps := sorted(key for key in main if "eps" in key):
        return f"config.json has {eps[0]}, and the class has one epsilon for all norms"
    if said.norm is None:
        return "its mixers have no norm behind the gate (rmsnorm false), and those of the class have one"
    if said.norm_groups is not None:
        return f"its gates' norms have {said.norm_groups} groups, other than B and C, and those of the class as many"
    if said.norm != "gate first":
        return "its norms stand before the gate (norm_before_gate), and those of the class behind it"
    if said.activation != "silu":
        return f"the activation behind its convolutions is {said.activation}, and that of the class is silu"
    for part, reason in _OTHERS.items():
        if any(f".{part}." in name for name in shapes):
            return f"it has {reason}, and the class has mixers alone"
    if any(found.beside for found in mixers):
        return "its mixers hold a gated feed-forward part (d_ssm), and those of the class hold none"
    return _unlike_sizes(mixers, shapes)


def _unlike_sizes(mixers: Sequence[Mixer], shapes: Shapes) -> str | None:
    if f"{NORM.removesuffix('.weight')}.bias" in shapes:
        return "its norms subtract the mean (rms_norm false), and those of the class do not"
    for what in ("states", "heads", "head_dim"):
        counts = sorted({getattr(found, what) for found in mixers})
        if len(counts) > 1:
            return f"its layers have {counts[0]} to {counts[-1]} {what.replace('_', ' ')}, and the class as many in all"
    inner, width = mixers[0].inner, shapes.get(EMBEDDING, (0, 1))[1]
    if any(shape != (mixers[0].heads,) for name, shape in shapes.items() if name.endswith(".mixer.D")):
        return "D has an entry for every channel (D_has_hdim), and that of the class one for every head"
    if inner % width:
        return f"its {inner} channels are no whole multiple of its width of {width}"
    return None


def _names(prefixes: Sequence[str], shapes: Shapes) -> dict[str, str]:
    """The names of all tensors but the head's, by those that they get."""
    found = {"backbone.embeddings.weight": EMBEDDING}
    biases = [leaf for leaf in _BIASES if f"{prefixes[0]}.mixer.{leaf}" in shapes]
    if ("in_proj.bias" in biases) != ("out_proj.bias" in biases):
        _refuse("one of in_proj and out_proj has a bias, and in the class both have one or none")
    for prefix in prefixes:
        own = ["norm.weight", *(f"mixer.{leaf}" for leaf in (*_REQUIRED, *biases))]
        found |= {f"{prefix}.{leaf}": f"{prefix}.{leaf}" for leaf in own}
    found[NORM] = NORM
    if missing := [old for old in found.values() if old not in shapes]:
        raise CheckpointError(f"there is no tensor {missing[0]}, which every model of mamba_ssm of this kind has")
    if others := sorted(set(shapes) - {*found.values(), HEAD}):
        _refuse(f"it has a tensor {others[0]}, for which the class has no place")
    return found


def _config(files: Mapping[str, Any], mixers: Sequence[Mixer], shapes: Shapes, tied: bool) -> dict[str, Any]:
    main, found = files[MAIN], mixers[0]
    core, generation = main["ssm_cfg"] or {}, files.get("file:generation_config.json") or {}
    vocabulary, width = shapes[EMBEDDING]
    kernel = next(shape[2] for name, shape in shapes.items() if name.endswith("conv1d.weight"))
    low, high = found.settings.limit
    limit = {} if (low, high) == (0.0, math.inf) else {"time_step_limit": [low, high]}
    steps = {"time_step_min": "dt_min", "time_step_max": "dt_max", "time_step_floor": "dt_init_floor"}
    return {
        "architectures": [CLASS],
        "chunk_size": whole(core.get("chunk_size", 256), "chunk_size"),
        "conv_kernel": kernel,
        "expand": found.inner // width,
        "head_dim": found.head_dim,
        "hidden_act": "silu",
        "hidden_size": width,
        "layer_norm_epsilon": EPS,
        "model_type": "mamba2",
        "n_groups": found.groups,
        "num_heads": found.heads,
        "num_hidden_layers": len(mixers),
        "residual_in_fp32": bool(main.get("residual_in_fp32", True)),
        "state_size": found.states,
        "tie_word_embeddings": tied,
        **limit,
        **{new: core[old] for new, old in steps.items() if old in core},
        **{name: main.get(name, generation.get(name, usual)) for name, usual in _TOKENS.items()},
        "use_bias": any(name.endswith("in_proj.bias") for name in shapes),
        "use_conv_bias": any(name.endswith("conv1d.bias") for name in shapes),
        "vocab_size": vocabulary,
    }


def _warnings(found: Mixer) -> tuple[str, ...]:
    if found.groups == 1:
        return ()
    return (f"the gate's norm has {found.groups} groups: transformers before 5 knows one, and computes something else",)
