"""PyTorch files, and parity with the forward passes of PyTorch code. Skipped where PyTorch is not installed."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import numpy as np
import pytest
from foreign import Tensors, assert_same, full_s4d, minimal_s4d, s5_pytorch

import last_cli as last
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.convert import export_weights, import_weights
from last_cli.families.lti.network.scan import prepare, run

torch = pytest.importorskip("torch")


def minimal_layer(u, log_dt, log_A_real, A_imag, C, D):
    """y (batch, H, length) of the minimal S4D's convolution, before its activation, in PyTorch."""
    length = u.shape[-1]
    dtA = (-torch.exp(log_A_real) + 1j * A_imag) * torch.exp(log_dt)[:, None]
    weights = torch.view_as_complex(C) * torch.expm1(dtA) / (-torch.exp(log_A_real) + 1j * A_imag)
    steps = torch.arange(length)
    K = 2 * (weights[..., None] * torch.exp(dtA[..., None] * steps)).sum(-2).real
    y = torch.fft.irfft(torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(K, n=2 * length), n=2 * length)
    return y[..., :length] + u * D[:, None]


def full_layer(u, inv_dt, A_real, A_imag, B, C, D):
    """The same of the full repository's version 4, one direction or two."""
    length, channels = u.shape[-1], u.shape[-2]
    A = (-torch.exp(A_real) - 1j * A_imag).repeat(channels // len(A_real), 1)
    B = torch.view_as_complex(B)[0].repeat(channels // len(A_real), 1)
    dtA = A * torch.exp(inv_dt)
    weights = B * torch.view_as_complex(C) * torch.expm1(dtA) / A
    K = 2 * (weights[..., None] * torch.exp(dtA[..., None] * torch.arange(length))).sum(-2).real
    k = torch.nn.functional.pad(K[0], (0, length))
    if len(K) == 2:
        k = k + torch.nn.functional.pad(K[1].flip(-1), (length, 0))
    y = torch.fft.irfft(torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(k), n=2 * length)
    return y[..., :length] + u * D[0][:, None]


def s5_layer(u, Lambda, B, C, D, log_step):
    """y (length, H) of s5-pytorch, zero-order hold, one direction or two, by the recurrence itself."""
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


def as_torch(tensors: Tensors, prefix: str = "") -> dict:
    found = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    return {name: torch.from_numpy(np.array(array)) for name, array in found.items()}


def double(state: dict) -> dict:
    wide = {torch.float32: torch.float64, torch.complex64: torch.complex128}
    return {name.rsplit(".", 1)[-1]: value.to(wide[value.dtype]) for name, value in state.items()}


def imported(tmp_path: Path, tensors: Tensors, name: str = "ckpt") -> last.Checkpoint:
    torch.save(as_torch(tensors), tmp_path / "model.pt")
    import_weights(tmp_path / "model.pt", tmp_path / name)
    return last.load(tmp_path / name)


def reloaded(tmp_path: Path, checkpoint: last.Checkpoint) -> dict:
    export_weights(checkpoint, tmp_path / "back.pt", force=True)
    return torch.load(tmp_path / "back.pt", weights_only=True)


def ours(checkpoint: last.Checkpoint, u: np.ndarray, layer: int = 0) -> np.ndarray:
    """Outputs (batch, length, H) of a layer of the checkpoint, by the engine in double precision."""
    with jax.enable_x64(True):
        system = checkpoint.system(checkpoint.layers[layer])
        return np.asarray(run(prepare(system, u.shape[1]), jax.numpy.asarray(u)))


def close(found: np.ndarray, expected, precision: float = 1e-12) -> None:
    expected = expected.numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=precision * np.abs(expected).max())


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_an_imported_minimal_s4d_computes_what_pytorch_computes(tmp_path: Path, ratio: float) -> None:
    rng = np.random.default_rng(0)
    checkpoint = last.prune(imported(tmp_path, minimal_s4d(rng)), ratio)
    u = rng.normal(size=(2, 40, 4))
    state = reloaded(tmp_path, checkpoint)
    for i in range(2):
        prefix = f"s4_layers.{i}."
        own = {n: v for n, v in state.items() if n.startswith((prefix + "kernel", prefix + "D"))}
        close(ours(checkpoint, u, i).swapaxes(1, 2), minimal_layer(torch.from_numpy(u).mT, **double(own)))


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize(("directions", "copies"), [(1, 4), (2, 2)])
def test_an_imported_full_s4d_computes_what_pytorch_computes(
    tmp_path: Path, directions: int, copies: int, ratio: float
) -> None:
    rng = np.random.default_rng(0)
    checkpoint = last.prune(imported(tmp_path, full_s4d(rng, 4, directions, copies)), ratio)
    state = reloaded(tmp_path, checkpoint)
    own = {name: value for name, value in state.items() if name.startswith("model")}
    u = rng.normal(size=(2, 40, 4))
    expected = full_layer(torch.from_numpy(u).mT, **double(own))
    close(ours(checkpoint, u).swapaxes(1, 2), expected, 1e-6)  # B times C was rounded to float32.


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("directions", [1, 2])
def test_an_imported_s5_computes_what_pytorch_computes(tmp_path: Path, directions: int, ratio: float) -> None:
    rng = np.random.default_rng(0)
    checkpoint = last.prune(imported(tmp_path, s5_pytorch(rng, directions)), ratio)
    own = {name: value for name, value in reloaded(tmp_path, checkpoint).items() if ".seq." in name}
    u = rng.normal(size=(1, 40, 4))
    close(ours(checkpoint, u)[0], s5_layer(torch.from_numpy(u[0]), **double(own)))


def test_a_whole_minimal_s4d_module_loads_the_export(tmp_path: Path) -> None:
    class Kernel(torch.nn.Module):
        def __init__(self, channels: int, pairs: int) -> None:
            super().__init__()
            self.C = torch.nn.Parameter(torch.randn(channels, pairs, 2))
            self.log_dt = torch.nn.Parameter(torch.rand(channels) * math.log(100) + math.log(0.001))
            self.register_buffer("log_A_real", torch.log(0.5 * torch.ones(channels, pairs)))  # As with lr=0.
            self.A_imag = torch.nn.Parameter(math.pi * torch.arange(pairs).repeat(channels, 1).float())

    class Layer(torch.nn.Module):
        def __init__(self, channels: int = 4, pairs: int = 8) -> None:
            super().__init__()
            self.D = torch.nn.Parameter(torch.randn(channels))
            self.kernel = Kernel(channels, pairs)
            self.output_linear = torch.nn.Sequential(torch.nn.Conv1d(channels, 2 * channels, 1), torch.nn.GLU(dim=-2))

    torch.manual_seed(0)
    layer = Layer()
    torch.save({"model": layer.state_dict(), "acc": 91.0, "epoch": 3}, tmp_path / "model.pth")
    report = import_weights(tmp_path / "model.pth", tmp_path / "ckpt")
    assert report.layers == ["ssm"]
    assert report.left_out == ("acc", "epoch") and "left out" in report.warnings[0]
    small = last.prune(last.load(tmp_path / "ckpt"), 0.4)
    found = reloaded(tmp_path, small)
    assert list(found) == ["model"]
    smaller = Layer(pairs=small.layers[0].shape.states)
    smaller.load_state_dict(found["model"])
    assert smaller.kernel.C.shape[1] < 8


def test_every_type_comes_back(tmp_path: Path) -> None:
    kinds = [
        "float32",
        "float64",
        "float16",
        "bfloat16",
        "int8",
        "int64",
        "bool",
        "complex64",
        "complex128",
        "float8_e5m2",
    ]
    others = {f"other.{kind}": torch.ones(2, 3).to(getattr(torch, kind)) for kind in kinds}
    others |= {"other.scalar": torch.tensor(3), "other.none": torch.zeros(0, 2), "other.conj": torch.ones(2) * 1j}
    others["other.conj"] = others["other.conj"].conj()
    state = as_torch(minimal_s4d(np.random.default_rng(0))) | others
    torch.save(state, tmp_path / "model.pt")
    import_weights(tmp_path / "model.pt", tmp_path / "ckpt")
    found = reloaded(tmp_path, last.load(tmp_path / "ckpt"))
    assert list(found) == list(state)
    for name, value in state.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        assert torch.equal(found[name], value.resolve_conj()), name


def test_a_pytorch_file_and_a_safetensors_file_are_exported_as_one_another(tmp_path: Path) -> None:
    tensors = minimal_s4d(np.random.default_rng(0))
    export_weights(imported(tmp_path, tensors), tmp_path / "m.safetensors")
    import_weights(tmp_path / "m.safetensors", tmp_path / "again")
    found = reloaded(tmp_path, last.load(tmp_path / "again"))
    assert_same({name: value.numpy() for name, value in found.items()}, tensors)


def test_a_pytorch_whose_weights_only_is_no_promise_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(as_torch(minimal_s4d(np.random.default_rng(0))), tmp_path / "m.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu121")
    with pytest.raises(UsageError, match=r"PyTorch 2\.5\.1\+cu121 runs code of a file .* expected 2\.6 or later"):
        import_weights(tmp_path / "m.pt", tmp_path / "ckpt")


class Unsafe:
    """Something that only a full unpickling would make."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: {"state_dict": as_torch(minimal_s4d(np.random.default_rng(0))), "hparams": Unsafe()}, "weights_only"),
        (lambda: torch.nn.Linear(2, 2), "weights_only"),
        (lambda: {"epoch": 3}, "holds a dict of epoch, expected a state dict"),
        (lambda: [torch.ones(2)], "holds a list"),
        (lambda: as_torch(minimal_s4d(np.random.default_rng(0))) | {"x": 3}, "x is int, expected a dense tensor"),
        (lambda: {"x": torch.eye(2).to_sparse()}, "x is torch.sparse_coo"),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path, content, message: str) -> None:
    torch.save(content(), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        import_weights(tmp_path / "m.pt", tmp_path / "ckpt")
    assert str(tmp_path / "m.pt") in caught.value.message
    assert "state_dict()" in caught.value.hint
    assert not (tmp_path / "ckpt").exists()
