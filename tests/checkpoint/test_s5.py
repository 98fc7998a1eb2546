"""S5 of s5-pytorch, imported, pruned, and given back bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign import assert_same, read_safetensors, s5_pytorch, write_safetensors

import last_cli as last
from last_cli.checkpoint.convert import export_weights, import_weights

every_layout = pytest.mark.parametrize(("directions", "pairs"), [(1, False), (2, False), (1, True), (2, True)])


def imported(tmp_path: Path, directions: int, pairs: bool) -> tuple[dict[str, np.ndarray], last.Checkpoint]:
    tensors = s5_pytorch(np.random.default_rng(5), directions, pairs)
    import_weights(write_safetensors(tmp_path / "model.safetensors", tensors), tmp_path / "ckpt")
    return tensors, last.load(tmp_path / "ckpt")


@every_layout
def test_all_states_are_read_as_they_are_and_none_as_half_a_pair(tmp_path: Path, directions: int, pairs: bool) -> None:
    tensors, checkpoint = imported(tmp_path, directions, pairs)
    (layer,) = checkpoint.layers
    assert layer.name == "blocks/0/s5/seq"
    assert (layer.sizes.states, layer.sizes.features, layer.sizes.directions) == (6, 4, directions)
    assert (checkpoint.config.conj_sym, checkpoint.origins["conj_sym"]) == (False, "checkpoint")
    assert checkpoint.config.discretization == ("bilinear" if pairs else "zoh")
    assert checkpoint.origins["discretization"] == "assumed"
    short = {name.rsplit(".", 1)[-1]: array for name, array in tensors.items()}
    Lambda, C = (short[n] if not pairs else short[n] @ np.array([1, 1j]) for n in ("Lambda", "C"))
    step = np.exp(short["log_step"].reshape(-1).astype(np.float64))
    system = checkpoint.system(layer)
    lam = (1 + Lambda * step / 2) / (1 - Lambda * step / 2) if pairs else np.exp(Lambda * step)
    np.testing.assert_allclose(system.lam[0], lam, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate(list(system.C[:, 0]), axis=-1), C, rtol=1e-6)
    assert system.gain == 1.0


@every_layout
def test_the_file_comes_back_whole_or_pruned(tmp_path: Path, directions: int, pairs: bool) -> None:
    tensors, checkpoint = imported(tmp_path, directions, pairs)
    export_weights(checkpoint, tmp_path / "back.safetensors")
    assert_same(read_safetensors(tmp_path / "back.safetensors"), tensors)
    small = last.prune(checkpoint, 0.5)
    export_weights(small, tmp_path / "back.safetensors", force=True)
    found = read_safetensors(tmp_path / "back.safetensors")
    kept = small.stamp["pruned"][0]["layers"][0]["kept"]
    both = np.concatenate([np.array(kept) + 6 * i for i in range(directions)])
    for name, array in tensors.items():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in ("Lambda", "B", "log_step"):
            array = array[kept]
        elif leaf == "C":
            array = array[:, both]
        np.testing.assert_array_equal(found[name], array, strict=True)
