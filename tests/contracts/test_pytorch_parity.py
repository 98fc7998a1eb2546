"""What imported layers compute is what the PyTorch code computes, recorded by `tests/data/pytorch/record.py`."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from foreign import Tensors, full_s4d, minimal_s4d, read_safetensors, s5_pytorch, write_safetensors
from foreign_layers import full_layer, minimal_layer, s5_layer
from recorded import arrays

import last_cli as last
from last_cli.checkpoint.convert import export_weights, import_weights
from last_cli.families.lti.network.scan import prepare, run

every_ratio = pytest.mark.parametrize("ratio", [0.0, 0.5])
LAYERS = {"minimal": minimal_layer, "full": full_layer, "s5": s5_layer}


@pytest.mark.parametrize("case", ["minimal", "full-1", "full-2", "s5-1", "s5-2"])
def test_the_formulas_are_those_of_the_pytorch_code(case: str) -> None:
    prefix = "" if case.startswith("s5") else "kernel."
    recorded = {name.split("/")[1]: a for name, a in arrays("layers").items() if name.startswith(f"{case}/")}
    u, y = recorded.pop("u"), recorded.pop("y")
    tensors = {f"{'' if name == 'D' else prefix}{name}": array for name, array in recorded.items()}
    close(LAYERS[case.split("-")[0]](u, tensors), y)


def pruned(tmp_path: Path, tensors: Tensors, ratio: float) -> tuple[last.Checkpoint, Tensors]:
    """The tensors imported and pruned, and the tensors that the result is exported as."""
    import_weights(write_safetensors(tmp_path / "model.safetensors", tensors), tmp_path / "ckpt")
    small = last.prune(last.load(tmp_path / "ckpt"), ratio)
    export_weights(small, tmp_path / "back.safetensors")
    return small, read_safetensors(tmp_path / "back.safetensors")


def ours(checkpoint: last.Checkpoint, u: np.ndarray, layer: int = 0) -> np.ndarray:
    """Outputs (length, H) of a layer of the checkpoint, by the engine in double precision."""
    with jax.enable_x64(True):
        system = checkpoint.system(checkpoint.layers[layer])
        return np.asarray(run(prepare(system, len(u)), jax.numpy.asarray(u[None]))[0])


def close(found: np.ndarray, expected: np.ndarray, precision: float = 1e-12) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=precision * np.abs(expected).max())


@every_ratio
def test_an_imported_minimal_s4d_computes_what_pytorch_computes(tmp_path: Path, ratio: float) -> None:
    rng = np.random.default_rng(0)
    small, tensors = pruned(tmp_path, minimal_s4d(rng), ratio)
    u = rng.normal(size=(40, 4))
    for i in range(2):
        prefix = f"s4_layers.{i}."
        own = {n: v for n, v in tensors.items() if n.startswith((prefix + "kernel", prefix + "D"))}
        close(ours(small, u, i), minimal_layer(u, own))


@every_ratio
@pytest.mark.parametrize(("directions", "copies"), [(1, 4), (2, 2)])
def test_an_imported_full_s4d_computes_what_pytorch_computes(
    tmp_path: Path, directions: int, copies: int, ratio: float
) -> None:
    rng = np.random.default_rng(0)
    small, tensors = pruned(tmp_path, full_s4d(rng, 4, directions, copies), ratio)
    own = {name: value for name, value in tensors.items() if name.startswith("model")}
    u = rng.normal(size=(40, 4))
    close(ours(small, u), full_layer(u, own), 1e-6)  # B times C was rounded to float32.


@every_ratio
@pytest.mark.parametrize("directions", [1, 2])
def test_an_imported_s5_computes_what_pytorch_computes(tmp_path: Path, directions: int, ratio: float) -> None:
    rng = np.random.default_rng(0)
    small, tensors = pruned(tmp_path, s5_pytorch(rng, directions), ratio)
    own = {name: value for name, value in tensors.items() if ".seq." in name}
    u = rng.normal(size=(40, 4))
    close(ours(small, u), s5_layer(u, own))
