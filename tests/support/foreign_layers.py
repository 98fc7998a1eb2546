"""What the layers of other code compute, by their formulas in double precision: (length, H) to (length, H).

The recorded outputs of PyTorch hold these to their word (tests/contracts/test_pytorch_parity.py).
"""

from __future__ import annotations

import numpy as np
from foreign import Tensors, complex_of, full_kernel


def minimal_layer(u: np.ndarray, tensors: Tensors) -> np.ndarray:
    """The minimal S4D's convolution, before its activation."""
    own = {name.rsplit(".", 1)[-1]: array.astype(np.float64) for name, array in tensors.items()}
    A = -np.exp(own["log_A_real"]) + 1j * own["A_imag"]
    dtA = A * np.exp(own["log_dt"])[:, None]
    weights = complex_of(own["C"]) * np.expm1(dtA) / A
    kernel = 2 * np.einsum("hn,hnl->hl", weights, np.exp(dtA[..., None] * np.arange(len(u)))).real
    return convolved(u, kernel) + u * own["D"]


def full_layer(u: np.ndarray, tensors: Tensors) -> np.ndarray:
    """The full repository's version 4, one direction or two: the second kernel looks ahead, from the next step on."""
    kernels = full_kernel(tensors, 4, len(u))
    y = convolved(u, kernels[0])
    if len(kernels) == 2:
        ahead = np.vstack([u[1:], np.zeros_like(u[:1])])
        y = y + convolved(ahead[::-1], kernels[1])[::-1]
    D = next(array for name, array in tensors.items() if name.rsplit(".", 1)[-1] == "D")
    return y + u * D.astype(np.float64).ravel()


def s5_layer(u: np.ndarray, tensors: Tensors) -> np.ndarray:
    """s5-pytorch, zero-order hold, one direction or two, by the recurrence itself."""
    own = {name.rsplit(".", 1)[-1]: array for name, array in tensors.items()}
    Lambda, C = (own[name].astype(np.complex128) for name in ("Lambda", "C"))
    lam = np.exp(Lambda * np.exp(own["log_step"].astype(np.float64)))
    driven = u @ (((lam - 1) / Lambda)[:, None] * complex_of(own["B"])).T

    def states(inputs: np.ndarray) -> np.ndarray:
        x, found = np.zeros_like(lam), []
        for value in inputs:
            x = lam * x + value
            found.append(x)
        return np.stack(found)

    xs = states(driven)
    if C.shape[1] == 2 * len(lam):
        xs = np.hstack([xs, states(driven[::-1])[::-1]])
    return (xs @ C.T).real + own["D"].astype(np.float64) * u


def convolved(u: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Causal convolution of each channel: u (length, H), kernel (H, length)."""
    return np.stack([np.convolve(u[:, h], k)[: len(u)] for h, k in enumerate(kernel)], axis=1)
