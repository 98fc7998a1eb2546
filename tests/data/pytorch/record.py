"""Record what PyTorch and torchvision compute, for tests that run without them.

    python3.11 -m venv .venv-torch
    .venv-torch/bin/pip install torch==2.13.0 numpy pillow
    .venv-torch/bin/pip install --no-deps torchvision==0.28.0
    PYTHONPATH=.:tests/support .venv-torch/bin/python tests/data/pytorch/record.py

Writes the fixtures beside this file, with the versions inside. Each holds its inputs too, so that no test depends on a
random generator that may change.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from data_files import cifar_batch, idx
from foreign import Tensors, full_s4d, minimal_s4d, s5_pytorch

HERE = Path(__file__).parent
SEEDS = (0, 42, 2**32 - 1, 2**40 + 7)
LENGTHS = (0, 1, 2, 3, 623, 624, 625, 5000)


def main() -> None:
    torchvision = import_torchvision()
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__}
    orders = ",\n".join(f'"{name}": {json.dumps(found)}' for name, found in random_orders().items())
    (HERE / "random.json").write_text(f'{{"versions": {json.dumps(versions)},\n{orders}}}\n')
    for name, make in {"images": images, "speech": speech, "layers": layers}.items():
        fixture: dict[str, Any] = {"versions": json.dumps(versions), **make()}
        np.savez_compressed(HERE / f"{name}.npz", **fixture)


def import_torchvision() -> Any:
    """torchvision beside another build of PyTorch than its own: its compiled operators are declared, and never run."""
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    import torchvision  # pyright: ignore[reportMissingImports]

    torchvision.operators = operators  # lives as long as the module
    return torchvision


def random_orders() -> dict[str, Any]:
    """The first indices of each permutation, and the digest of all as 64-bit integers; the parts of one split."""

    def generator(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    orders = []
    for seed in SEEDS:
        for n in LENGTHS:
            order = torch.randperm(n, generator=generator(seed)).numpy().astype("<i8")
            digest = hashlib.sha256(order.tobytes()).hexdigest()[:16]
            orders.append({"n": n, "seed": seed, "first": order[:6].tolist(), "digest": digest})
    parts = torch.utils.data.random_split(range(103), [83, 10, 10], generator=generator(42))
    return {"randperm": orders, "random_split": {"seed": 42, "parts": [list(part.indices) for part in parts]}}


def images() -> Tensors:
    """Images of every value, and what torchvision's data sets and transforms make of them."""
    from torchvision import datasets, transforms  # pyright: ignore[reportMissingImports]

    tensor, compose, normalize = transforms.ToTensor, transforms.Compose, transforms.Normalize
    count = np.arange(2 * 3072)
    digits = (count[: 2 * 784] * 97 % 256).astype(np.uint8).reshape(2, 28, 28)
    colours = ((count * 61 + count // 1024 * 29 + count // 96) % 256).astype(np.uint8).reshape(2, 3072)
    greys = (np.arange(1024) % 256).astype(np.uint8).reshape(32, 32, 1)
    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "t10k"):
            idx(Path(folder, f"MNIST/raw/{part}-images-idx3-ubyte"), digits)
            idx(Path(folder, f"MNIST/raw/{part}-labels-idx1-ubyte"), np.array([7, 2]))
        mnist = sequences(datasets.MNIST(folder, train=False, transform=tensor()))
        cifar_batch(Path(folder, "cifar-10-batches-py/test_batch"), colours, [4, 9])
        unchecked = {"_check_integrity": lambda self: True, "_load_meta": lambda self: None}
        cifar = type("Unchecked", (datasets.CIFAR10,), unchecked)
        grey = [transforms.Grayscale(), tensor(), normalize(mean=122.6 / 255, std=61.0 / 255)]
        colour = [tensor(), normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))]
        image, scifar = (
            sequences(cifar(folder, train=False, transform=compose(steps)))  # pyright: ignore[reportCallIssue]
            for steps in (grey, colour)
        )
    pathfinder = compose([tensor(), normalize(mean=0.5, std=0.5)])(greys)
    outputs = {"smnist_x": mnist, "image_x": image, "scifar_x": scifar, "pathfinder_x": pathfinder.reshape(-1, 1)}
    inputs = {"smnist": digits, "smnist_y": np.array([7, 2]), "cifar": colours, "cifar_y": np.array([4, 9])}
    return {**inputs, "pathfinder": greys, **{name: np.asarray(x) for name, x in outputs.items()}}


def sequences(dataset: Any) -> np.ndarray:
    """(n, pixels, features) of a data set's images."""
    return np.stack([x.reshape(x.shape[0], -1).T.numpy() for x, _ in dataset])


def speech() -> Tensors:
    """Sound at some moments (recordings, moments), and the S5 code's normalisation of it, moment by moment."""
    rng = np.random.default_rng(0)
    train, test = (rng.normal(0, 3000, (n, 16)).astype(np.int16) for n in (70, 35))
    scaled = [torch.from_numpy(part.astype(np.float32) / 2.0**30)[:, None] for part in (train, test)]
    for moment in range(16):
        mean, std = scaled[0][:, :, moment].mean(), scaled[0][:, :, moment].std()
        scaled[1][:, :, moment] = (scaled[1][:, :, moment] - mean) / (std + 1e-5)
    return {"train": train, "test": test, "test_x": scaled[1][:, 0].numpy()}


def layers() -> Tensors:
    """`CASE/name` for each case: the layer's parameters, its input `u` (length, H) and its output `y`, in float64."""
    rng = np.random.default_rng(0)
    cases: dict[str, tuple[Callable[..., torch.Tensor], Tensors]] = {
        "minimal": (minimal_layer, minimal_s4d(rng, layers=1)),
        "full-1": (full_layer, full_s4d(rng, 4, 1, 4)),
        "full-2": (full_layer, full_s4d(rng, 4, 2, 2)),
        "s5-1": (s5_layer, s5_pytorch(rng, 1)),
        "s5-2": (s5_layer, s5_pytorch(rng, 2)),
    }
    around = ("encoder", "norms", "mask", "s4_layers.0.output_linear")
    wide = {"float32": np.float64, "complex64": np.complex128}
    found: Tensors = {}
    for case, (layer, tensors) in cases.items():
        own = {name.rsplit(".", 1)[-1]: a for name, a in tensors.items() if not name.startswith(around)}
        u = rng.normal(size=(24, 4))
        y = layer(torch.from_numpy(u), **{n: torch.from_numpy(a.astype(wide[a.dtype.name])) for n, a in own.items()})
        found |= {f"{case}/{name}": array for name, array in {**own, "u": u, "y": y.numpy()}.items()}
    return found


def minimal_layer(u, log_dt, log_A_real, A_imag, C, D):
    """The convolution of state-spaces' minimal S4D (models/s4/s4d.py), before its activation."""
    length = len(u)
    dtA = (-torch.exp(log_A_real) + 1j * A_imag) * torch.exp(log_dt)[:, None]
    weights = torch.view_as_complex(C) * torch.expm1(dtA) / (-torch.exp(log_A_real) + 1j * A_imag)
    K = 2 * (weights[..., None] * torch.exp(dtA[..., None] * torch.arange(length))).sum(-2).real
    y = torch.fft.irfft(torch.fft.rfft(u.T, n=2 * length) * torch.fft.rfft(K, n=2 * length), n=2 * length)
    return y[..., :length].T + u * D


def full_layer(u, inv_dt, A_real, A_imag, B, C, D):
    """The same of the full repository's version 4, one direction or two."""
    length, channels = u.shape
    A = (-torch.exp(A_real) - 1j * A_imag).repeat(channels // len(A_real), 1)
    B = torch.view_as_complex(B)[0].repeat(channels // len(A_real), 1)
    dtA = A * torch.exp(inv_dt)
    weights = B * torch.view_as_complex(C) * torch.expm1(dtA) / A
    K = 2 * (weights[..., None] * torch.exp(dtA[..., None] * torch.arange(length))).sum(-2).real
    k = torch.nn.functional.pad(K[0], (0, length))
    if len(K) == 2:
        k = k + torch.nn.functional.pad(K[1].flip(-1), (length, 0))
    y = torch.fft.irfft(torch.fft.rfft(u.T, n=2 * length) * torch.fft.rfft(k), n=2 * length)
    return y[..., :length].T + u * D[0]


def s5_layer(u, Lambda, B, C, D, log_step):
    """s5-pytorch, zero-order hold, one direction or two, by the recurrence itself."""
    step = torch.exp(log_step)
    lam = torch.exp(Lambda * step)
    driven = u.to(lam.dtype) @ ((1 / Lambda * (lam - 1))[:, None] * torch.view_as_complex(B)).T

    def states(inputs):
        x, found = torch.zeros_like(lam), []
        for value in inputs:
            x = lam * x + value
            found.append(x)
        return torch.stack(found)

    xs = states(driven)
    if C.shape[1] == 2 * len(lam):
        xs = torch.cat([xs, states(driven.flip(0)).flip(0)], dim=-1)
    return (xs @ C.T).real + D * u


if __name__ == "__main__":
    main()
