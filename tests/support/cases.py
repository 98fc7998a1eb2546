"""The oracle's cases, and where the data of the tests lie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import last_cli as last

DATA = Path(__file__).parents[1] / "data"
SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
CASES = sorted(path.name for path in (DATA / "oracle").iterdir() if path.is_dir())
S5_CASES, S4D_CASES = ([name for name in CASES if name.startswith(f"{family}_")] for family in ("s5", "s4d"))


@dataclass(frozen=True)
class Case:
    """One case of the original code: its checkpoint, its configuration and what it computed."""

    name: str
    path: Path
    config: dict[str, Any]
    expected: dict[str, np.ndarray]

    @property
    def is_s5(self) -> bool:
        return self.config["arch"] == "s5"

    @property
    def options(self) -> dict[str, Any]:
        """What the tree does not say, for `last.load`."""
        names = ("discretization", "conj_sym", "clip_eigs", "step_rescale", "activation", "prenorm", "mode", "padded")
        return {name: self.config[name] for name in names if name in self.config}

    @property
    def tolerance(self) -> float:
        """For logits: the reference's own float32 error, as the oracle's README has it."""
        errors = self.config["reference_float32_vs_float64"]
        return max(1e-4, 3 * errors.get("logits_f32_vs_f64", errors.get("logits", 0.0)))

    def load(self) -> last.Checkpoint:
        return last.load(self.path, **self.options)

    def inputs(self) -> tuple[np.ndarray, np.ndarray | None]:
        x = self.expected["tokens"] if "tokens" in self.expected else self.expected["x"]
        return x, self.expected.get("lengths")

    def stack(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Per-layer (G, N) arrays in the oracle's order: (layers, N) for S5, (layers, N, H) for S4D."""
        return np.stack([a[0] if self.is_s5 else a.T for a in arrays])

    def unstack(self, array: np.ndarray) -> list[np.ndarray]:
        """The other way round."""
        return [a[None] if self.is_s5 else a.T for a in array]


def load_case(name: str) -> Case:
    path = DATA / "oracle" / name
    with np.load(path / "expected.npz") as expected:
        return Case(name, path / "ckpt", json.loads((path / "case.json").read_text()), dict(expected))
