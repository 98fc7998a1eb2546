"""Language models of transformers whose Mamba mixers have different sizes, as `last` writes them.

`last_layers` in config.json has an entry for each mixer, in the order of the layers: its states, its heads (1 in
Mamba-1), the channels of a head (`head_dim`), and the epsilon of its gate's norm (`eps`, null where there is no such
norm). With `groups` B and C have so many, and its norm has those that the configuration says; with `bias` out_proj has
one. The stock class makes the model, and each mixer is then made anew, by its own class, from the configuration with
these sizes. Everything else is the stock class's.
"""

from __future__ import annotations

from fractions import Fraction
from types import MethodType
from typing import Any

import torch
import transformers

PREFIX = "Last"
_MAMBA = ("mamba_d_state", "mamba_n_heads", "mamba_d_head", "mamba_n_groups")
KEYS = {
    "Mamba2ForCausalLM": (("state_size", "num_heads", "head_dim", "n_groups"), "expand"),
    "BambaForCausalLM": (_MAMBA, "mamba_expand"),
    "GraniteMoeHybridForCausalLM": (_MAMBA, "mamba_expand"),
    "NemotronHForCausalLM": (("ssm_state_size", "mamba_num_heads", "mamba_head_dim", "n_groups"), None),
    "FalconH1ForCausalLM": (_MAMBA, "mamba_d_ssm"),
    "Zamba2ForCausalLM": (("mamba_d_state", "n_mamba_heads", "mamba_headdim", "mamba_ngroups"), "mamba_expand"),
    "MambaForCausalLM": (("state_size", None, None, None), "intermediate_size"),
    "FalconMambaForCausalLM": (("state_size", None, None, None), "intermediate_size"),
    "JambaForCausalLM": (("mamba_d_state", None, None, None), "mamba_expand"),
    "ZambaForCausalLM": (("mamba_d_state", "n_mamba_heads", None, None), "mamba_expand"),
}
"""The stock classes: keys of states, heads, head_dim and groups, and of all channels or their ratio to the width."""

_LEAVES = ("A_log", "D", "in_proj", "conv1d", "out_proj")


def __getattr__(name: str) -> Any:
    """LastMamba2ForCausalLM and so on: made when asked for, since not every transformers has all of the types."""
    stock = name.removeprefix(PREFIX)
    if stock == name or stock not in KEYS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    parent = getattr(transformers, stock)
    said = {"__module__": __name__, "__doc__": f"{stock} with `last_layers`.", "_auto_class": "AutoModelForCausalLM"}
    return globals().setdefault(name, type(name, (Layered, parent), said))


class Layered:
    """A model whose mixers are as large as `last_layers` says; without that, the stock model."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        if entries := getattr(config, "last_layers", None):
            _resize(self, config, entries)


class _Ratio(Fraction):
    """The ratio of all channels to the width of the model: times the width exactly so many, an int as classes want."""

    def __mul__(self, other: Any) -> Any:
        return int(Fraction(self) * other)


class _Config:
    """A configuration with other values, which it might refuse as its own."""

    def __init__(self, config: Any, values: dict[str, Any]) -> None:
        vars(self).update(values, stock=config)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["stock"], name)


def _resize(model: Any, config: Any, entries: list[dict[str, Any]]) -> None:
    """Makes every mixer anew, with the sizes of its entry."""
    mixers = [n for n, module in model.named_modules() if all(hasattr(module, leaf) for leaf in _LEAVES)]
    if len(mixers) > len(entries):
        raise ValueError(f"config.json: last_layers has {len(entries)} entries, and the model {len(mixers)} mixers")
    for name, entry in zip(mixers, entries, strict=False):  # Layers of another head, for several tokens, come last.
        around, _, own = name.rpartition(".")
        old = model.get_submodule(name)
        new = type(old)(_sized(model, config, entry), layer_idx=old.layer_idx)
        if hasattr(old, "config"):
            new.config = old.config
        if entry["eps"] is not None:
            if entry["eps"] != new.norm.variance_epsilon:  # Then the weight was rescaled too, in float32.
                kept = model._keep_in_fp32_modules_strict or ()
                model._keep_in_fp32_modules_strict = {*kept, f"{name}.norm".replace(".", r"\.")}
            new.norm.variance_epsilon = entry["eps"]
            if "groups" in entry:
                _regroup(new.norm, getattr(config, _keys(model)[0][3]))
        if entry.get("bias"):
            new.out_proj = torch.nn.Linear(new.out_proj.in_features, new.out_proj.out_features)
        if hasattr(old, "mup_vector"):
            new.register_buffer("mup_vector", _multipliers(new, config), persistent=False)
            model.model._init_weights = MethodType(_init_weights, model.model)
        new.register_forward_pre_hook(_make_room, with_kwargs=True)
        setattr(model.get_submodule(around), own, new)


def _regroup(norm: Any, groups: int) -> None:
    """Gives a gate's norm so many groups."""
    if hasattr(norm, "group_size"):
        norm.group_size = len(norm.weight) // groups
    elif hasattr(norm, "n_groups"):
        norm.n_groups = groups
    else:
        raise ValueError("this version of transformers has no groups in the gate's norm: take 5 or later")


def _keys(model: Any) -> Any:
    """The entry of KEYS for a model."""
    return KEYS[next(parent.__name__ for parent in type(model).__mro__ if parent.__name__ in KEYS)]


def _sized(model: Any, config: Any, entry: dict[str, Any]) -> Any:
    """The configuration of one mixer."""
    (states, heads, head_dim, groups), inner = _keys(model)
    values = {states: entry["states"], heads: entry["heads"], head_dim: entry["head_dim"]}
    if "groups" in entry:
        values[groups] = entry["groups"]
    elif groups and getattr(config, groups) == getattr(config, heads):  # Every head has a B and C of its own.
        values[groups] = entry["heads"]
    channels = entry["heads"] * entry["head_dim"]
    if inner:
        values[inner] = _Ratio(channels, config.hidden_size) if inner.endswith("expand") else channels
    return _Config(config, {key: value for key, value in values.items() if key})


class _States(list):
    """A tensor for each layer, where the cache of a model in transformers 4 has one for all."""

    @property
    def device(self) -> Any:
        return self[0].device


def _make_room(mixer: Any, args: Any, kwargs: Any) -> None:
    """Gives a layer its own sizes in a cache of transformers 4, which has room before any layer runs, for all alike."""
    cache = next((value for value in (*args, *kwargs.values()) if hasattr(value, "conv_states")), None)
    if cache is None:
        return
    own = tuple(mixer.A_log.shape)  # In Mamba-1 a state has a pole in every channel.
    sizes = own if len(own) > 1 else (mixer.num_heads, mixer.head_dim, mixer.ssm_state_size)
    for name, shape in (("conv_states", tuple(mixer.conv1d.weight.shape[::2])), ("ssm_states", sizes)):
        if isinstance(states := getattr(cache, name), torch.Tensor):
            setattr(cache, name, states := _States(states))
        if (before := states[mixer.layer_idx]).shape[1:] != shape:
            states[mixer.layer_idx] = before.new_zeros((len(before), *shape))


def _multipliers(mixer: Any, config: Any) -> torch.Tensor:
    """Falcon-H1's factors on the rows of in_proj: z, x, B, C and the step."""
    inner, pairs = mixer.intermediate_size, mixer.n_groups * mixer.ssm_state_size
    parts = zip(config.ssm_multipliers, (inner, inner, pairs, pairs, mixer.num_heads), strict=True)
    return torch.tensor([float(factor) for factor, rows in parts for _ in range(rows)])[None, None]


def _init_weights(self: Any, module: Any) -> None:
    """Of Falcon-H1's inner model: the stock one fills all factors, which are not stored, as if mixers were equal."""
    if module is self:
        return
    type(self)._init_weights(self, module)
    if hasattr(module, "mup_vector"):
        module.mup_vector.copy_(_multipliers(module, self.config))
