"""What the configuration files of a language model say of its Mamba-2 mixers, whoever wrote them.

Sizes come from the tensors; the files say what tensors do not show: how many groups share B and C, the limits of the
step, where the gate stands. What differs by model type is the one table `TYPES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from last_cli.base.errors import CheckpointError

Rows = Literal["mamba2", "discrete", "shared"]
"""How the rows of in_proj lie: z x B C dt; x B C z A_log, without a step; or z x B C dt with x and B of fewer heads."""

_SHOWN = 80  # characters of a value that is none

MAIN, MAMBA = "file:config.json", "file:mamba_config.json"

MAMBA_SSM = "mamba_ssm"

EPS_LIST = "norm_eps_list"
"""The key of config.json below which `last` writes the epsilon of each mixer's norm for mamba_ssm, which has one."""

USUAL_STEP_MIN = 0.001
"""The smallest step of Nemotron-H and Zamba2 where config.json says none."""

LAST_LAYERS = "last_layers"
"""The key of config.json below which `last` writes the sizes of mixers that differ, and the epsilon of their norms."""

NORM_GROUPS = "norm_groups"
"""The key of config.json below which `last` writes for mamba_ssm how many groups the norms have, if not those of B."""


@dataclass(frozen=True)
class Keys:
    """The keys of a configuration by what they say of a mixer.

    Attributes:
        states, heads, head_dim, groups: sizes.
        eps: of the gate's norm, and mostly of all norms; a number where it is a constant of the class.
        limit: of the step: a pair, or its lower end alone.
        inner: keys of the number of channels, or of its ratio to the width of the model.
        activation: behind the convolution; None where the class has SiLU, whatever a file says.
        usual_groups: how many groups there are where no file says it.
    """

    states: str
    heads: str
    head_dim: str
    groups: str
    eps: str | float
    limit: str
    inner: tuple[str, ...] = ()
    activation: str | None = "hidden_act"
    usual_groups: int = 1


_MAMBA = Keys("mamba_d_state", "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "rms_norm_eps", "time_step_limit")
TYPES: dict[str, Keys] = {
    "mamba2": Keys(
        "state_size",
        "num_heads",
        "head_dim",
        "n_groups",
        "layer_norm_epsilon",
        "time_step_limit",
        ("expand",),
        usual_groups=8,
    ),
    "bamba": replace(_MAMBA, inner=("mamba_expand",)),
    "granitemoehybrid": replace(_MAMBA, inner=("mamba_expand",)),
    "falcon_h1": replace(_MAMBA, inner=("mamba_d_ssm",)),
    "nemotron_h": Keys(
        "ssm_state_size",
        "mamba_num_heads",
        "mamba_head_dim",
        "n_groups",
        "layer_norm_epsilon",
        "time_step_min",
        activation="mamba_hidden_act",
        usual_groups=8,
    ),
    "zamba2": Keys(
        "mamba_d_state",
        "n_mamba_heads",
        "mamba_headdim",
        "mamba_ngroups",
        1e-5,
        "time_step_min",
        ("mamba_expand",),
        activation=None,
    ),
}
"""The model types of transformers whose mixers are Mamba-2."""


@dataclass(frozen=True)
class Settings:
    """What is to be known of all mixers of a model besides their tensors.

    Attributes:
        name: of the model type or of the library that wrote it, as reports call it.
        rows: the order of in_proj's rows.
        groups: heads of a group share B and C; with rows "shared", x and B are shared too.
        shared: channels of x that all heads share, with rows "shared".
        activation: behind the convolution.
        limit: smallest and largest step.
        norm: where the gate's norm stands, before or after the gate; None where there is none.
        norm_by_head: the norm has a group for each head, not for each group of B and C.
        norm_groups: how many groups the norm has where those of B and C were merged; None where it has theirs.
        eps: of that norm.
        each_eps: of each mixer's in order, where they differ.
        own_groups: every head has a B and C of its own, however many heads there are.
        factors: on the rows of in_proj, by part.
        factor_in, factor_out: on the mixer's input and output.
    """

    name: str
    rows: Rows = "mamba2"
    groups: int = 1
    shared: int = 0
    activation: Literal["silu", "identity"] = "silu"
    limit: tuple[float, float] = (0.0, math.inf)
    norm: Literal["gate first", "norm first"] | None = "gate first"
    norm_by_head: bool = False
    norm_groups: int | None = None
    eps: float = 1e-5
    each_eps: tuple[float, ...] | None = None
    own_groups: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)
    factor_in: float = 1.0
    factor_out: float = 1.0

    def eps_of(self, number: int, name: str) -> float:
        """The epsilon of one mixer's norm, by its number and the name that errors call it."""
        if self.each_eps is None:
            return self.eps
        if number >= len(self.each_eps):
            said = LAST_LAYERS if self.name in TYPES else EPS_LIST
            raise CheckpointError(f"config.json: {said} has {len(self.each_eps)} entries, and none for {name}")
        return self.each_eps[number]


def settings(files: Mapping[str, Any]) -> Settings:
    """The settings of a model's mixers, from the files beside its tensors, by their names in Index.config.

    Raises:
        CheckpointError: nothing there says which kind of mixer they are, or a value is none.
    """
    main = files.get(MAIN) or {}
    if MAMBA in files:
        return _mamba_in_llama(files[MAMBA])
    if "MixerModel" in main:
        return _discrete("phi-mamba", section(section(main, "Block1"), "core_input"))
    if main.get("model_type") == "llamba":
        return _discrete("llamba", section(main, "ssm_cfg"))
    if "ssm_cfg" in main and type_of(main) not in TYPES:  # Converted ones may keep it beside their own keys.
        return _mamba_ssm(main)
    config = of_language(main)
    if type_of(config) in TYPES:
        return _transformers(config)
    raise CheckpointError(
        f"config.json names the model type {shown(config.get('model_type'))}, expected one of {', '.join(TYPES)}, "
        "or a file of mamba_ssm, phi-mamba, Llamba or MambaInLlama"
    )


def of_language(main: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of the language model: that of a model of several kinds of data has it as a part."""
    inner = main.get("text_config")
    return inner if type_of(main) not in TYPES and isinstance(inner, dict) else main


def type_of(config: Any) -> str:
    """The model type that a configuration names; empty where it names none."""
    said = config.get("model_type") if isinstance(config, dict) else None
    return said if isinstance(said, str) else ""


def number(value: Any, name: str) -> float:
    """A number of a configuration; transformers since 5 writes an infinity as an object."""
    plain: Any = value.get("__float__") if isinstance(value, dict) else value
    try:
        if not math.isnan(found := float(plain)):
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    raise CheckpointError(f"config.json: {name} is {shown(value)}, expected a number")


def epsilon(value: Any, name: str) -> float:
    """A number of a configuration that is added to a mean square."""
    if not 0 <= (found := number(value, name)) < math.inf:
        raise CheckpointError(f"config.json: {name} is {shown(value)}, expected a small number, 0 or more")
    return found


def whole(value: Any, name: str) -> int:
    """A number of a configuration that counts something."""
    found = number(value, name)
    if not (found.is_integer() and 0 < found < 2**31):
        raise CheckpointError(f"config.json: {name} is {shown(value)}, expected a whole number above 0")
    return int(found)


def numbers(value: Any, name: str, count: int) -> list[float]:
    """As many numbers of a configuration."""
    if not isinstance(value, list | tuple) or len(value) != count:
        raise CheckpointError(f"config.json: {name} is {shown(value)}, expected {count} numbers")
    return [number(part, name) for part in value]


def section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The part of a configuration with this name; empty where it is missing or null."""
    found = config.get(name)
    if not isinstance(found, dict | None):
        raise CheckpointError(f"config.json: {name} is {shown(found)}, expected an object")
    return found or {}


def shown(value: Any) -> str:
    """A value of a configuration in an error, long ones cut."""
    said = repr(value)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."


def _transformers(config: Mapping[str, Any]) -> Settings:
    kind = config["model_type"]
    keys = TYPES[kind]
    limit = config.get(keys.limit)
    if keys.limit == "time_step_min":
        limit = [USUAL_STEP_MIN if limit is None else limit, math.inf]
    norm: Literal["gate first", "norm first"] | None = "gate first"
    factors: dict[str, float] = {}
    factor_in, factor_out = 1.0, 1.0
    if kind == "falcon_h1":
        norm = "norm first" if config.get("mamba_norm_before_gate", True) else "gate first"
        norm = norm if config.get("mamba_rms_norm", False) else None
        said = numbers(config.get("ssm_multipliers") or [1.0] * 5, "ssm_multipliers", 5)
        factors.update(zip(("z", "x", "B", "C", "dt"), said, strict=True))
        factor_in = number(config.get("ssm_in_multiplier", 1.0), "ssm_in_multiplier")
        factor_out = number(config.get("ssm_out_multiplier", 1.0), "ssm_out_multiplier")
    eps = epsilon(config.get(keys.eps, 1e-5), keys.eps) if isinstance(keys.eps, str) else keys.eps
    groups, merged = whole(config.get(keys.groups, keys.usual_groups), keys.groups), _merged(config)
    return Settings(
        kind,
        groups=merged or groups,
        norm_groups=groups if merged else None,
        activation=_activation(config.get(keys.activation, "silu") if keys.activation else "silu"),
        limit=_limit(limit, keys.limit),
        norm=norm,
        eps=eps,
        each_eps=_each_eps(config[LAST_LAYERS], eps) if LAST_LAYERS in config else None,
        own_groups=LAST_LAYERS in config
        and not merged
        and config.get(keys.groups) == config.get(keys.heads) is not None,
        factors=factors,
        factor_in=factor_in,
        factor_out=factor_out,
    )


def _merged(config: Mapping[str, Any]) -> int | None:
    """How many groups of B and C `last_layers` says that mixers have, where it says so."""
    entries = config.get(LAST_LAYERS)
    if not isinstance(entries, list) or not _are_entries(entries):
        return None
    said = [entry["groups"] for entry in entries if "groups" in entry]
    if not said:
        return None
    if said != [said[0]] * len(entries):
        raise CheckpointError(f"config.json: {LAST_LAYERS} has groups {shown(said)}, expected one number for all")
    return whole(said[0], f"{LAST_LAYERS}.groups")


def _limit(pair: Any, name: str) -> tuple[float, float]:
    """The smallest and largest step; none where nothing is said of it."""
    low, high = numbers((0.0, math.inf) if pair is None else pair, name, 2)
    if low > high:
        raise CheckpointError(f"config.json: {name} goes from {low:g} to {high:g}, expected the smaller one first")
    return low, high


def _each_eps(entries: Any, eps: float) -> tuple[float, ...]:
    """The epsilon of every mixer's norm; of a mixer without one, that of the others."""
    if not _are_entries(entries):
        raise CheckpointError(f"config.json: {LAST_LAYERS} is no list of objects with states, heads, head_dim and eps")
    return tuple(eps if entry["eps"] is None else epsilon(entry["eps"], f"{LAST_LAYERS}.eps") for entry in entries)


def _are_entries(entries: Any) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) and "eps" in entry for entry in entries)


def _mamba_ssm(config: Mapping[str, Any]) -> Settings:
    core = section(config, "ssm_cfg")
    norm = "norm first" if core.get("norm_before_gate", False) else "gate first"
    groups, own = _groups(config, core.get("ngroups", 1), "ngroups_list", "nheads_list")
    return Settings(
        MAMBA_SSM,
        groups=groups,
        own_groups=own,
        activation=_activation(core.get("activation", "swish")),
        limit=_limit(core.get("dt_limit"), "dt_limit"),
        norm=norm if core.get("rmsnorm", True) else None,
        norm_groups=whole(config[NORM_GROUPS], NORM_GROUPS) if NORM_GROUPS in config else None,
        each_eps=_eps_list(config),
    )


def _discrete(name: str, core: Mapping[str, Any]) -> Settings:
    groups, own = _groups(core, core.get("n_qk_heads", 32), "n_qk_heads_list", "n_v_heads_list")
    activation = _activation(core.get("activation", "identity"))
    return Settings(name, "discrete", groups, activation=activation, norm=None, own_groups=own)


def _groups(there: Mapping[str, Any], usual: Any, groups_key: str, heads_key: str) -> tuple[int, bool]:
    """How many groups share B and C, and whether each head of whatever layer is a group of its own."""
    groups = _list(there.get(groups_key) or [usual], groups_key)
    if len(set(groups)) == 1:
        return whole(groups[0], groups_key), False
    if groups == there.get(heads_key):
        return 1, True
    raise CheckpointError(f"config.json: {groups_key} is {groups}, expected one number for all layers, or {heads_key}")


def _eps_list(config: Mapping[str, Any]) -> tuple[float, ...] | None:
    eps = config.get(EPS_LIST)
    return None if eps is None else tuple(epsilon(value, EPS_LIST) for value in _list(eps, EPS_LIST))


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value or not all(isinstance(n, int | float) for n in value):
        raise CheckpointError(f"config.json: {name} is {value!r}, expected a list of numbers, one for each layer")
    return value


def _mamba_in_llama(config: Mapping[str, Any]) -> Settings:
    core = section(config, "ssm_cfg")
    if core.get("repeat_kv_before_conv", True):
        raise CheckpointError("mamba_config.json: x and B are repeated before the convolution, expected after it")
    return Settings(
        "mamba-in-llama",
        "shared",
        groups=whole(core.get("ngroups", 1), "ngroups"),
        shared=whole(config.get("d_xb"), "d_xb"),
        norm_by_head=True,
        each_eps=_eps_list(config),
    )


def _activation(name: Any) -> Literal["silu", "identity"]:
    if name in ("silu", "swish"):
        return "silu"
    if name in ("identity", None):
        return "identity"
    raise CheckpointError(f"config.json: the activation {shown(name)} is not known, expected silu or identity")
