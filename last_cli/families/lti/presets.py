"""The published S5 hyperparameters of the six Long Range Arena tasks.

Source: the run scripts of the S5 code (github.com/lindermanlab/S5, bin/run_experiments) and the S5 paper, table 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.base.words import suggestion


@dataclass(frozen=True)
class Preset:
    """One published configuration.

    Attributes:
        name: what the option `preset` takes.
        task: the task it was trained on.
        model: entries of ModelConfig.
        size: n_layers, d_model, ssm_size_base and blocks of the network.
        training: batch size, epochs, learning rates and the rest of the recipe.
    """

    name: str
    task: str
    model: Mapping[str, Any]
    size: Mapping[str, Any]
    training: Mapping[str, Any]


_ALL_RUNS = {
    "discretization": "zoh",
    "conj_sym": True,
    "clip_eigs": False,
    "prenorm": True,
    "mode": "pool",
    "bn_momentum": 0.95,
}


def _s5(task: str, model: dict[str, Any], size: tuple[int, int, int, int], **training: Any) -> Preset:
    n_layers, d_model, ssm_size_base, blocks = size
    return Preset(
        name=f"s5-lra-{task}",
        task=task,
        model=_ALL_RUNS | model,
        size={"n_layers": n_layers, "d_model": d_model, "ssm_size_base": ssm_size_base, "blocks": blocks},
        training={"ssm_lr": 0.001, "warmup_epochs": 1} | training,
    )


PRESETS = {
    p.name: p
    for p in (
        _s5(
            "listops",
            {"activation": "half_glu2", "padded": True, "dropout": 0.0},
            (8, 128, 16, 8),
            batch_size=50,
            epochs=40,
            lr_factor=3,
            weight_decay=0.04,
            opt_config="BfastandCdecay",
            C_init="lecun_normal",
        ),
        _s5(
            "text",
            {"activation": "half_glu2", "padded": True, "dropout": 0.1},
            (6, 256, 192, 12),
            batch_size=50,
            epochs=35,
            lr_factor=4,
            weight_decay=0.07,
            opt_config="standard",
            C_init="lecun_normal",
            warmup_epochs=0,
            dt_global=True,
        ),
        _s5(
            "retrieval",
            {"activation": "half_glu1", "padded": True, "dropout": 0.0},
            (6, 128, 256, 16),
            batch_size=32,
            epochs=20,
            lr_factor=2,
            weight_decay=0.05,
            opt_config="standard",
            C_init="trunc_standard_normal",
            dt_global=True,
        ),
        _s5(
            "image",
            {"activation": "half_glu1", "padded": False, "dropout": 0.1, "clip_eigs": True},
            (6, 512, 384, 3),
            batch_size=50,
            epochs=250,
            lr_factor=4.5,
            weight_decay=0.07,
            opt_config="BfastandCdecay",
            C_init="lecun_normal",
        ),
        _s5(
            "pathfinder",
            {"activation": "half_glu1", "padded": False, "dropout": 0.05, "bn_momentum": 0.9},
            (6, 192, 256, 8),
            batch_size=64,
            epochs=200,
            lr_factor=5,
            ssm_lr=0.0009,
            weight_decay=0.03,
            opt_config="standard",
            C_init="trunc_standard_normal",
        ),
        _s5(
            "pathx",
            {"activation": "half_glu1", "padded": False, "dropout": 0.0, "bn_momentum": 0.9},
            (6, 128, 256, 16),
            batch_size=32,
            epochs=75,
            lr_factor=3,
            ssm_lr=0.0006,
            weight_decay=0.06,
            opt_config="BandCdecay",
            C_init="complex_normal",
            dt_min=0.0001,
        ),
    )
}


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        UsageError: there is none; the hint names the closest.
    """
    if name in PRESETS:
        return PRESETS[name]
    raise UsageError(f"unknown ⟨preset⟩ '{name}'", f"{suggestion(name, PRESETS)}presets are: {', '.join(PRESETS)}")


def presets_of_sizes(layers: int, features: int, states: int) -> list[Preset]:
    """The published configurations whose networks have so many layers, features, and states stored in each layer."""
    return [
        preset
        for preset in PRESETS.values()
        if (layers, features, states)
        == (preset.size["n_layers"], preset.size["d_model"], preset.size["ssm_size_base"] // 2)
    ]
