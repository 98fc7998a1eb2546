"""What a Mamba-2 mixer puts out for an input, step by step in float64: the definition, for checks of a few steps.

The network computes the same in chunks and in single precision (see network.forward.mix).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from last_cli.base.annotations import Float
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.targets import CONV, IN, NORM, OUT

Arrays = Mapping[str, np.ndarray]
Inputs = Float[np.ndarray, "T d"]


def response(sizes: Mixer, arrays: Arrays, u: Inputs) -> Inputs:
    """The outputs (T, d) behind zeros.

    Args:
        sizes: of the mixer.
        arrays: its tensors by their names below its prefix, in any precision.
        u: what enters it, behind the norm in front.
    """
    settings = sizes.settings
    projected = _linear(u * settings.factor_in, arrays, IN)
    parts = {p: projected[:, slice(*rows)] * settings.factors.get(p, 1.0) for p, rows in sizes.rows.items()}
    x, b, c = _convolved(sizes, arrays, np.concatenate([parts[part] for part in "xBC"], axis=1))
    driven, left = _driven(sizes, arrays, parts["dt"], x)
    state, y = np.zeros((sizes.heads, sizes.head_dim, sizes.states)), np.empty_like(x)
    for t in range(len(u)):
        state = state * left[t, :, None, None] + driven[t, :, :, None] * b[t, :, None, :]
        y[t] = (state @ c[t, :, :, None])[..., 0]
    y += x * arrays["D"].astype(np.float64).reshape(sizes.heads, -1)
    y = _gated(sizes, arrays, y.reshape(len(u), -1), parts["z"] + arrays.get("z_bias", np.zeros(1)).astype(np.float64))
    if sizes.beside:
        y = np.concatenate([_silu(parts["z0"]) * parts["x0"], y], axis=1)
    return _linear(y, arrays, OUT) * settings.factor_out


def _convolved(sizes: Mixer, arrays: Arrays, entered: np.ndarray) -> list[np.ndarray]:
    """x (T, H, P), B and C (T, H, N) of every head behind the convolution and its activation."""
    taps = arrays[CONV][:, 0].astype(np.float64)
    padded = np.concatenate([np.zeros((taps.shape[1] - 1, len(taps))), entered])
    found = sum(padded[k : k + len(entered)] * taps[:, k] for k in range(taps.shape[1]))
    found = np.asarray(found) + (arrays["conv1d.bias"].astype(np.float64) if "conv1d.bias" in arrays else 0.0)
    found = _silu(found) if sizes.settings.activation == "silu" else found
    by_head = []
    for part, rows in sizes.conv_rows.items():
        width = sizes.head_dim if part == "x" else sizes.states
        value = found[:, slice(*rows)].reshape(len(entered), -1, width)
        by_head.append(np.repeat(value, sizes.heads // value.shape[1], axis=1))
    return by_head


def _driven(sizes: Mixer, arrays: Arrays, raw: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What drives the states (T, H, P), and what a step leaves of them (T, H)."""
    if sizes.settings.rows == "discrete":
        return x, _sigmoid(-raw)
    step = np.clip(np.logaddexp(0, raw + arrays["dt_bias"].astype(np.float64)), *sizes.settings.limit)
    return x * step[..., None], np.exp(-np.exp(arrays["A_log"].astype(np.float64)) * step)


def _gated(sizes: Mixer, arrays: Arrays, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    settings, gate = sizes.settings, _silu(z)
    if settings.norm is None:
        return y * gate
    y = y * gate if settings.norm == "gate first" else y
    by_group = y.reshape(len(y), sizes.norm_groups, -1)
    by_group = by_group / np.sqrt(np.square(by_group).mean(axis=-1, keepdims=True) + settings.eps)
    y = by_group.reshape(y.shape) * arrays[NORM].astype(np.float64)
    return y * gate if settings.norm == "norm first" else y


def _linear(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    bias = name.replace("weight", "bias")
    y = x @ arrays[name].astype(np.float64).T
    return y + arrays[bias].astype(np.float64) if bias in arrays else y


def _silu(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))
