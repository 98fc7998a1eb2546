"""What a checkpoint's tree does not say of its model, and where each answer came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.lti.presets import preset

CHOICES = {
    "discretization": ("zoh", "bilinear", "dirac"),
    "activation": ("full_glu", "half_glu1", "half_glu2", "gelu"),
    "mode": ("pool", "last"),
}
SWITCHES = ("conj_sym", "clip_eigs", "prenorm", "padded")
RANGES = {
    "step_rescale": (math.ulp(0.0), math.inf, "a positive number"),
    "dropout": (0, 1, "a number from 0 to below 1"),
    "bn_momentum": (0, 1, "a number from 0 to below 1"),
}

# The names that the S5 code, or people's own configurations, use for the same thing.
ALIASES = {
    "activation_fn": "activation",
    "discretisation": "discretization",
    "pooling": "mode",
    "pooling_mode": "mode",
    "conjugate_symmetry": "conj_sym",
    "p_dropout": "dropout",
}
WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class ModelConfig:
    """The model around and inside the SSM layers, in the S5 code's words.

    Attributes:
        discretization: "zoh", "bilinear", or "dirac" of event-based models.
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
        for field in fields(self):
            if problem := _problem(field.name, getattr(self, field.name)):
                hint = f"correct ⟨the flag|⟦{field.name}⟧⟩, or the configuration beside the checkpoint"
                raise UsageError(f"{field.name} {problem}", hint)


NAMES = tuple(field.name for field in fields(ModelConfig))


def resolve(
    said: Mapping[str, Any],
    flags: Mapping[str, Any],
    preset_name: str | None = None,
    inferred: Mapping[str, Any] | None = None,
    assumed: Mapping[str, Any] | None = None,
) -> tuple[ModelConfig, dict[str, str]]:
    """The configuration, and for each name where its value came from: flag, preset, checkpoint, tree or assumed.

    A flag that is None was not given. Flags win over the preset and that over the checkpoint's own words: what a person
    types now is meant. What the tree shows (`inferred`) comes last before the stated assumption, and among assumptions
    those that an earlier pruning made (`assumed`) come before the defaults.

    Raises:
        UsageError: an unknown preset, or a value that is none of the allowed ones.
    """
    layers = (
        ("assumed", known(assumed or {})),
        ("tree", dict(inferred or {})),
        ("checkpoint", known(said)),
        ("preset", preset(preset_name).model if preset_name else {}),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    )
    if unknown := sorted(set(flags) - set(NAMES)):
        raise UsageError(f"unknown option '{unknown[0]}'", f"the options are: {', '.join(NAMES)}")
    config, sources = ModelConfig(), dict.fromkeys(NAMES, "assumed")
    for source, values in layers:
        config = replace(config, **values)
        sources.update(dict.fromkeys(values, source))
    return config, sources


def known(said: Mapping[str, Any]) -> dict[str, Any]:
    """Those entries of a foreign configuration that name something of ModelConfig and mean what we mean by it."""
    found: dict[str, Any] = {}
    for key, value in said.items():
        name = ALIASES.get(key, key)
        if name in NAMES and not _problem(name, meant := _meant(name, value)):
            found[name] = meant
    return {name: found[name] for name in NAMES if name in found}


def unknown(said: Mapping[str, Any]) -> dict[str, str]:
    """For entries that name something of ModelConfig and mean nothing that we know: why, by the key that they have.

    None says nothing, and is passed over.
    """
    found = {}
    for key, value in said.items():
        name = ALIASES.get(key, key)
        if name in NAMES and value is not None and (problem := _problem(name, _meant(name, value))):
            found[key] = f"{key} ({name}): {name} {problem}" if key != name else f"{name} {problem}"
    return found


def _meant(name: str, value: Any) -> Any:
    """A value as YAML and the command lines of other programs write it: `True`, `1e-1` and numbers may come as text."""
    if not isinstance(value, str):
        return value
    if name in SWITCHES:
        return WORDS.get(value.lower(), value)
    if name in RANGES:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _problem(name: str, value: Any) -> str | None:
    """Why this is no value for that name, as the rest of a sentence on it, or None."""
    if name in CHOICES:
        fits = isinstance(value, str) and value in CHOICES[name]
        return None if fits else f"is {value!r}, expected one of {', '.join(CHOICES[name])}"
    if name in SWITCHES:
        return None if isinstance(value, bool) else f"is {value!r}, expected true or false"
    low, high, said = RANGES[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if number and low <= value < high else f"is {value!r}, expected {said}"
