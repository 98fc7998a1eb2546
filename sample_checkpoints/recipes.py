"""What train.py trains: the samples, a published configuration, and models that chose no setting of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.presets import preset


@dataclass(frozen=True)
class Recipe:
    """One sample: its model, its task and how it is trained. Learning rates and decay are the S5 code's groups."""

    family: str
    task: str
    settings: dict[str, Any]
    model: ModelConfig
    n_layers: int = 4
    d_model: int = 64
    states: int = 32
    blocks: int = 1
    d_input: int = 20
    batch_size: int = 64
    steps: int = 15000
    chunk: int = 250
    ssm_lr: float = 1e-3
    lr: float = 3e-3
    weight_decay: float = 0.04
    warmup: float = 0.05
    fast_B: bool = True
    dt: tuple[float, float] = (1e-3, 1e-1)
    directions: int = 2
    norm: str = "batch"
    seed: int = 0


# Steps that suit sequences of some 64 tokens: with the long sequences' 0.001 to 0.1, time constants reach 2,000 tokens.
SHORT_DT = (1e-2, 3e-1)
SHORT_LISTOPS = {"min_length": 16, "max_length": 64, "length": 65, "seed": 0}
LRA = preset("s5-lra-listops")
LRA_STEPS = LRA.training["epochs"] * 96_000 // LRA.training["batch_size"]

RECIPES = {
    "s5-listops": Recipe(
        family="s5",
        task="listops",
        settings=SHORT_LISTOPS,
        model=ModelConfig(activation="half_glu2", padded=True, clip_eigs=True),
        steps=8000,
        ssm_lr=5e-4,
        dt=SHORT_DT,
    ),
    "s4d-listops": Recipe(
        family="s4d",
        task="listops",
        settings=SHORT_LISTOPS,
        model=ModelConfig(activation="full_glu", padded=True),
    ),
    "s5-digits": Recipe(
        family="s5",
        task="digits",
        settings={},
        model=ModelConfig(activation="half_glu1", dropout=0.2, clip_eigs=True),
        d_input=1,
        batch_size=50,
        steps=2500,
        blocks=2,
        ssm_lr=5e-4,
        dt=SHORT_DT,
    ),
    # Models that choose no setting of the package: safe_ratio.py and budgets.py measure on them.
    "s5-one-listops": Recipe(
        family="s5",
        task="listops",
        settings={"min_length": 20, "max_length": 80, "length": 81, "seed": 3},
        model=ModelConfig(activation="half_glu2", padded=True, clip_eigs=True),
        batch_size=32,
        steps=10_000,
        ssm_lr=5e-4,
        dt=SHORT_DT,
        directions=1,
        seed=1,
    ),
    "s5-last-watch": Recipe(
        family="s5",
        task="watch",
        settings={},
        model=ModelConfig(activation="half_glu1", mode="last", clip_eigs=True, dropout=0.1),
        d_input=6,
        batch_size=32,
        steps=3000,
        ssm_lr=5e-4,
        dt=SHORT_DT,
        directions=1,
        norm="layer",
        seed=2,
    ),
    "s5-one-digits": Recipe(
        family="s5",
        task="digits",
        settings={"seed": 1},
        model=ModelConfig(activation="full_glu", dropout=0.2, clip_eigs=True),
        d_input=1,
        batch_size=32,
        steps=4000,
        ssm_lr=5e-4,
        dt=SHORT_DT,
        directions=1,
        norm="layer",
        seed=3,
    ),
    "s5-single-vowels": Recipe(
        family="s5",
        task="vowels",
        settings={},
        model=ModelConfig(activation="half_glu1", conj_sym=False, padded=True, dropout=0.2),
        d_input=12,
        batch_size=25,
        steps=1500,
        ssm_lr=5e-4,
        dt=SHORT_DT,
        seed=4,
    ),
    "s5-single-watch": Recipe(
        family="s5",
        task="watch",
        settings={},
        model=ModelConfig(activation="half_glu2", conj_sym=False, dropout=0.1, clip_eigs=True),
        d_input=6,
        batch_size=32,
        steps=3000,
        blocks=2,
        ssm_lr=5e-4,
        dt=SHORT_DT,
        directions=1,
        seed=5,
    ),
    "s4d-watch": Recipe(
        family="s4d",
        task="watch",
        settings={},
        model=ModelConfig(activation="full_glu", dropout=0.1),
        d_input=6,
        batch_size=32,
        steps=3000,
        dt=SHORT_DT,
        norm="layer",
        seed=6,
    ),
    "s4d-one-digits": Recipe(
        family="s4d",
        task="digits",
        settings={"seed": 2},
        model=ModelConfig(activation="full_glu", mode="last", dropout=0.2),
        d_input=1,
        batch_size=32,
        steps=3000,
        dt=SHORT_DT,
        directions=1,
        seed=7,
    ),
    "s5-lra-listops": Recipe(
        family="s5",
        task="listops",
        settings={"min_length": 501, "max_length": 1999, "length": 2048, "seed": 0},
        model=ModelConfig(**LRA.model),
        n_layers=LRA.size["n_layers"],
        d_model=LRA.size["d_model"],
        states=LRA.size["ssm_size_base"] // 2,
        blocks=LRA.size["blocks"],
        batch_size=LRA.training["batch_size"],
        steps=LRA_STEPS,
        chunk=320,
        lr=LRA.training["ssm_lr"] * LRA.training["lr_factor"],
        weight_decay=LRA.training["weight_decay"],
        warmup=1 / LRA.training["epochs"],
    ),
    "s4d-lra-listops": Recipe(
        family="s4d",
        task="listops",
        settings={"min_length": 501, "max_length": 1999, "length": 2048, "seed": 0},
        model=ModelConfig(activation="full_glu", padded=True),
        n_layers=6,
        d_model=128,
        states=32,
        batch_size=50,
        steps=LRA_STEPS,
        chunk=320,
        lr=3e-3,
        weight_decay=0.05,
        warmup=1 / 40,
    ),
}
