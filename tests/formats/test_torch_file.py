"""PyTorch files, as PyTorch itself writes and loads them. Skipped where PyTorch is not installed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from foreign import Tensors, assert_same, minimal_s4d

import last_cli as last
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.convert import export_weights, import_weights

torch = pytest.importorskip("torch")


def as_torch(tensors: Tensors) -> dict:
    return {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}


def imported(tmp_path: Path, tensors: Tensors) -> last.Checkpoint:
    torch.save(as_torch(tensors), tmp_path / "model.pt")
    import_weights(tmp_path / "model.pt", tmp_path / "ckpt")
    return last.load(tmp_path / "ckpt")


def reloaded(tmp_path: Path, checkpoint: last.Checkpoint) -> dict:
    export_weights(checkpoint, tmp_path / "back.pt", force=True)
    return torch.load(tmp_path / "back.pt", weights_only=True)


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
