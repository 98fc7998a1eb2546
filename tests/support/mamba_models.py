"""The Mamba-1 models in tests/data/mamba, and a mixer in plain numpy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from archives import unpacked

DATA = Path(__file__).parents[1] / "data" / "mamba" / "oracle.tar.xz"
NORM_EPS = 1e-6
"""Of the norms of B and C, in the cases that have them."""
NORMED = ("falcon_mamba", "jamba")


@cache
def directories() -> Path:
    """Where the cases are unpacked, once in a process. Tests do not change them."""
    directory = Path(tempfile.mkdtemp(prefix="mamba-models-"))
    unpacked(DATA, directory)
    return directory


@cache
def recorded(case: str, name: str = "mixer") -> Mapping[str, np.ndarray]:
    """What a case's file has."""
    with np.load(directories() / case / f"{name}.npz") as arrays:
        return dict(arrays)


def leaves(case: str) -> dict[str, np.ndarray]:
    """The tensors of a case's mixer."""
    return {name: array for name, array in recorded(case).items() if name not in ("in", "out")}


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def run(arrays: Mapping[str, np.ndarray], u: np.ndarray, normed: bool = False) -> np.ndarray:
    """Outputs (T, d) of a Mamba-1 mixer for inputs (T, d) behind the norm in front, one step after the other."""
    a = {name: array.astype(np.float64) for name, array in arrays.items()}
    rows, apart = u @ a["in_proj.weight"].T, "x_proj_weight" in a
    x, z = (rows[:, 0::2], rows[:, 1::2]) if apart else np.split(rows, 2, axis=1)
    padded = np.vstack([np.zeros((3, x.shape[1])), x])
    x = sum(padded[k : k + len(x)] * a["conv1d.weight"][:, 0, k] for k in range(4)) + a["conv1d.bias"]
    names = ("x_proj_weight", "dt_proj_weight", "dt_proj_bias") if apart else ("x_proj.weight", "dt_proj.weight")
    x_proj, dt_proj = (a[name] if apart else a[name][None] for name in names[:2])
    bias, D, A = (a[n] if apart else a[n][None] for n in ("dt_proj_bias" if apart else "dt_proj.bias", "D", "A_log"))
    x, z = (part.reshape(len(u), *bias.shape) for part in (silu(x), silu(z)))
    states = A.shape[-1]
    dt, B, C = np.split(np.einsum("hrp,thp->thr", x_proj, x), [-2 * states, -states], axis=-1)
    if normed:
        dt, B, C = (
            part / np.sqrt(np.mean(part**2, axis=-1, keepdims=True) + NORM_EPS) * a.get(f"{name}_layernorm.weight", 1.0)
            for name, part in (("dt", dt), ("b", B), ("c", C))
        )
    step = np.logaddexp(0, np.einsum("hpr,thr->thp", dt_proj, dt) + bias)[..., None]
    state, out = np.zeros(A.shape), np.zeros(x.shape)
    for t in range(len(u)):
        state = np.exp(-np.exp(A) * step[t]) * state + step[t] * x[t][..., None] * B[t][:, None]
        out[t] = (state * C[t][:, None]).sum(axis=-1) + D * x[t]
    return (out * z).reshape(len(u), -1) @ a["out_proj.weight"].T
