"""What a checkpoint's tree does not say of its model, and where each answer came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from last_cli.errors import UsageError
from last_cli.presets import preset

DISCRETIZATIONS = ("zoh", "bilinear")
ACTIVATIONS = ("full_glu", "half_glu1", "half_glu2", "gelu")
MODES = ("pool", "last")

# The names that the S5 code, or people's own configurations, use for the same thing.
ALIASES = {
    "activation_fn": "activation",
    "discretisation": "discretization",
    "pooling": "mode",
    "conjugate_symmetry": "conj_sym",
}


@dataclass(frozen=True)
class ModelConfig:
    """The model around and inside the SSM layers, in the S5 code's words.

    Attributes:
        discretization: "zoh" or "bilinear".
        conj_sym: each stored state stands for a conjugate pair.
        clip_eigs: real parts of the poles are clipped at -1e-4.
        step_rescale: factor on all step sizes.
        activation: "full_glu", "half_glu1", "half_glu2" or "gelu".
        prenorm: the norm stands before the SSM, not after the residual sum.
        mode: "pool" (mean over time) or "last".
        padded: the mean runs over each sequence's own length only.
        dropout: rate while training; evaluation has none.
        bn_momentum: of the running statistics while training.
    """

    discretization: str = "zoh"
    conj_sym: bool = True
    clip_eigs: bool = False
    step_rescale: float = 1.0
    activation: str = "half_glu1"
    prenorm: bool = True
    mode: str = "pool"
    padded: bool = False
    dropout: float = 0.0
    bn_momentum: float = 0.95

    def __post_init__(self) -> None:
        for name, allowed in (("discretization", DISCRETIZATIONS), ("activation", ACTIVATIONS), ("mode", MODES)):
            if (value := getattr(self, name)) not in allowed:
                raise UsageError(f"{name} is '{value}', expected one of {', '.join(allowed)}")
        for name in ("conj_sym", "clip_eigs", "prenorm", "padded"):
            if not isinstance(value := getattr(self, name), bool):
                raise UsageError(f"{name} is {value!r}, expected true or false")
        if isinstance(self.step_rescale, bool) or not isinstance(self.step_rescale, int | float):
            raise UsageError(f"step_rescale is {self.step_rescale!r}, expected a number")
        if not 0 < self.step_rescale < float("inf"):
            raise UsageError(f"step_rescale is {self.step_rescale}, expected a positive number")


NAMES = tuple(field.name for field in fields(ModelConfig))


def resolve(
    said: Mapping[str, Any],
    flags: Mapping[str, Any],
    preset_name: str | None = None,
    inferred: Mapping[str, Any] | None = None,
) -> tuple[ModelConfig, dict[str, str]]:
    """The configuration, and for each name where its value came from: flag, preset, checkpoint, tree or assumed.

    A flag that is None was not given. Flags win over the preset and that over the checkpoint's own words: what a person
    types now is meant. What the tree's shapes show (`inferred`) comes last before the stated assumption.

    Raises:
        UsageError: an unknown preset, or a value that is none of the allowed ones.
    """
    layers = (
        ("tree", dict(inferred or {})),
        ("checkpoint", known(said)),
        ("preset", preset(preset_name).model if preset_name else {}),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    )
    config, sources = ModelConfig(), dict.fromkeys(NAMES, "assumed")
    for source, values in layers:
        config = replace(config, **values)
        sources.update(dict.fromkeys(values, source))
    return config, sources


def known(said: Mapping[str, Any]) -> dict[str, Any]:
    """Those entries of a foreign configuration that name something of ModelConfig, under our names."""
    renamed = {ALIASES.get(name, name): value for name, value in said.items()}
    return {name: renamed[name] for name in NAMES if renamed.get(name) is not None}
