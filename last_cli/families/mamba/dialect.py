"""What the configuration of a language model says of its Mamba-1 mixers, and under which keys.

Sizes come from the tensors; the configuration tells the model type, and with it which keys a pruning changes and
whether B and C are normed over the states. What differs by model type is the one table `TYPES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.families.mamba2.dialect import MAIN, epsilon, shown, type_of


@dataclass(frozen=True)
class Keys:
    """The keys of a configuration by what they say of a mixer.

    Attributes:
        states: the number of states of a channel.
        expand: the number of channels over the width of the model.
        inner: the number of channels itself, which wins where it is said.
        heads: the number of heads.
        norm_eps: the epsilon of the norms of B and C over the states; None where there are none.
        activation: behind the convolution.
    """

    states: str
    expand: str
    inner: str | None = None
    heads: str | None = None
    norm_eps: str | None = None
    activation: str = "hidden_act"


TYPES: dict[str, Keys] = {
    "mamba": Keys("state_size", "expand", inner="intermediate_size"),
    "falcon_mamba": Keys("state_size", "expand", inner="intermediate_size", norm_eps="mixer_rms_eps"),
    "jamba": Keys("mamba_d_state", "mamba_expand", norm_eps="rms_norm_eps"),
    "zamba": Keys("mamba_d_state", "mamba_expand", heads="n_mamba_heads", activation="hidden_mamba_act"),
}
"""The model types of transformers whose mixers are Mamba-1."""


@dataclass(frozen=True)
class Settings:
    """What is to be known of all mixers of a model besides their tensors.

    Attributes:
        name: of the model type or of the library that wrote it, as reports call it.
        keys: of its configuration.
        path: where in config.json these lie.
        eps: of the norms of B and C; None where there are none.
    """

    name: str
    keys: Keys
    path: tuple[str, ...] = ()
    eps: float | None = None


def settings(files: Mapping[str, Any]) -> Settings:
    """The settings of a model's mixers, from the files beside its tensors, by their names in Index.config.

    Raises:
        CheckpointError: nothing there says which kind of model it is, or a value is none.
    """
    main = files.get(MAIN) or {}
    if type_of(main) not in TYPES and "ssm_cfg" in main:  # transformers' own conversions keep it too.
        return Settings("mamba_ssm", Keys("d_state", "expand"), ("ssm_cfg",))
    inner = main.get("text_config")
    nested = inner if type_of(main) not in TYPES and isinstance(inner, dict) else None
    config = main if nested is None else nested
    name = type_of(config)
    if name not in TYPES:
        raise CheckpointError(
            f"config.json names the model type {shown(config.get('model_type'))}, expected one of {', '.join(TYPES)}, "
            "or a file of mamba_ssm"
        )
    keys = TYPES[name]
    if (activation := config.get(keys.activation, "silu")) not in ("silu", "swish"):
        raise CheckpointError(f"config.json: {keys.activation} is {activation!r}, expected silu")
    eps = None if keys.norm_eps is None else epsilon(config.get(keys.norm_eps, 1e-6), keys.norm_eps)
    return Settings(name, keys, () if nested is None else ("text_config",), eps)
