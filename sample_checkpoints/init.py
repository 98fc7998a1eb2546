"""Initial parameters of SSM layers, as the papers have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Parameters = dict[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A layer's form: states that stand for conjugate `pairs`, or for themselves, and the range `dt` of their steps."""

    features: int
    states: int
    blocks: int
    dt: tuple[float, float]
    directions: int = 2
    pairs: bool = True


def s5_parameters(rng: np.random.Generator, layer: Layer) -> Parameters:
    """An S5 layer (Smith et al., ICLR 2023, section 3.3 and appendix B.1).

    Lambda and the eigenvectors V come from `blocks` copies of the normal part of HiPPO-LegS; B and C are Lecun-normal
    in the original basis and stored in the eigenbasis, of pairs only the half with negative imaginary parts.
    """
    blocks, features, dt = layer.blocks, layer.features, layer.dt
    size = (2 if layer.pairs else 1) * layer.states // blocks
    poles, V = _hippo_normal(size)
    stored = layer.states // blocks
    poles, V = np.tile(poles[:stored], blocks), np.kron(np.eye(blocks), V[:, :stored])
    full = blocks * size
    B = V.conj().T @ rng.normal(0, full**-0.5, (full, features))
    C = [_complex(rng, full**-0.5, (features, full)) @ V for _ in range(layer.directions)]
    names = ("C1", "C2") if layer.directions == 2 else ("C",)
    return {
        "Lambda_re": np.real(poles),
        "Lambda_im": np.imag(poles),
        "B": _pairs(B),
        **{name: _pairs(one) for name, one in zip(names, C, strict=True)},
        "D": rng.normal(0, 1, features),
        "log_step": rng.uniform(np.log(dt[0]), np.log(dt[1]), (blocks * stored, 1)),
    }


def s4d_parameters(rng: np.random.Generator, layer: Layer) -> Parameters:
    """An S4D-Lin layer of `states` conjugate pairs a channel (Gu et al., NeurIPS 2022, section 4.3)."""
    features, states, dt = layer.features, layer.states, layer.dt
    return {
        "log_A_real": np.full((features, states), np.log(0.5)),
        "A_imag": np.broadcast_to(np.pi * np.arange(states), (features, states)),
        "C": _pairs(_complex(rng, 0.5**0.5, (layer.directions, features, states))),
        "D": rng.normal(0, 1, features),
        "log_dt": rng.uniform(np.log(dt[0]), np.log(dt[1]), features),
    }


def _hippo_normal(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, by rising imaginary part, and eigenvectors of the normal part of the HiPPO-LegS matrix."""
    p = np.sqrt(1 + 2 * np.arange(n))
    A = -(np.tril(np.outer(p, p)) - np.diag(np.arange(n)))
    low_rank = np.sqrt(np.arange(n) + 0.5)
    S = A + np.outer(low_rank, low_rank)
    imaginary, V = np.linalg.eigh(S * -1j)
    return np.diagonal(S).mean() + 1j * imaginary, V


def _complex(rng: np.random.Generator, scale: float, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, scale, shape) + 1j * rng.normal(0, scale, shape)


def _pairs(z: np.ndarray) -> np.ndarray:
    return np.stack([np.real(z), np.imag(z)], axis=-1)
