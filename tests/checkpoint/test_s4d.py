"""S4D of the state-spaces code: minimal and full, imported, pruned, and given back bit by bit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import (
    Tensors,
    assert_same,
    full_kernel,
    full_s4d,
    minimal_s4d,
    read_safetensors,
    write_safetensors,
)

import last_cli as last
from last_cli.checkpoint.convert import export_weights, import_weights
from last_cli.checkpoint.convert.s4d import fold
from last_cli.families.lti.network.scan import kernel


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def imported(tmp_path: Path, tensors: Tensors, **transforms: Any) -> last.Checkpoint:
    src = write_safetensors(tmp_path / "model.safetensors", tensors, {"format": "pt", "note": "ours"})
    import_weights(src, tmp_path / "ckpt", **transforms)
    return last.load(tmp_path / "ckpt")


def exported(tmp_path: Path, checkpoint: last.Checkpoint) -> Tensors:
    export_weights(checkpoint, tmp_path / "back.safetensors", force=True)
    return read_safetensors(tmp_path / "back.safetensors")


def test_the_minimal_code_s_layers_get_our_leaves_bit_by_bit(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = minimal_s4d(rng)
    checkpoint = imported(tmp_path, tensors)
    assert [layer.name for layer in checkpoint.layers] == ["s4_layers/0", "s4_layers/1"]
    leaves = checkpoint.arrays(checkpoint.layers[1])
    for leaf, name in {"D": "D", **{n: f"kernel.{n}" for n in ("C", "log_dt", "log_A_real", "A_imag")}}.items():
        np.testing.assert_array_equal(leaves[leaf], tensors[f"s4_layers.1.{name}"], strict=True)
    assert ("params", "s4_layers", "0", "output_linear", "0", "weight") in checkpoint.leaves
    assert ("params", "norms", "0", "num_batches_tracked") in checkpoint.leaves


def test_the_file_comes_back_byte_by_byte(tmp_path: Path, rng: np.random.Generator) -> None:
    checkpoint = imported(tmp_path, minimal_s4d(rng) | {"none": np.zeros((0, 3), np.float32)})
    report = export_weights(checkpoint, tmp_path / "back.safetensors")
    assert report.mapped and not report.warnings
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_a_pruned_model_comes_back_smaller(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = minimal_s4d(rng)
    small = last.prune(imported(tmp_path, tensors), 0.6)
    last.save(small, tmp_path / "pruned")
    found = exported(tmp_path, last.load(tmp_path / "pruned"))
    assert list(found) == list(tensors)
    for layer in small.layers:
        prefix = layer.name.replace("/", ".")
        assert found[f"{prefix}.kernel.C"].shape == (4, layer.sizes.states, 2)
        kept = small.stamp["pruned"][0]["layers"][small.layers.index(layer)]["kept"]
        for channel, states in enumerate(kept):
            for name in ("C", "A_imag", "log_A_real"):
                whole, part = tensors[f"{prefix}.kernel.{name}"], found[f"{prefix}.kernel.{name}"]
                np.testing.assert_array_equal(part[channel, : len(states)], whole[channel, states])
                assert not part[channel, len(states) :].any()
    report = export_weights(small, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "back.safetensors").read_bytes()
    assert "fewer states" in report.warnings[0]
    assert any(row.note == "was (4, 6, 2)" for row in report.keys)


@pytest.mark.parametrize(
    ("version", "directions", "copies", "ones"),
    [(3, 1, 4, False), (3, 2, 2, False), (3, 2, 4, True), (4, 1, 4, False), (4, 2, 1, False), (4, 1, 2, True)],
)
def test_the_full_code_s_kernels_are_kept_by_import_pruning_and_export(
    tmp_path: Path, rng: np.random.Generator, version: int, directions: int, copies: int, ones: bool
) -> None:
    tensors = full_s4d(rng, version, directions, copies, ones=ones)
    checkpoint = imported(tmp_path, tensors)
    (layer,) = checkpoint.layers
    assert layer.sizes.directions == directions
    assert_close(kernel(checkpoint.system(layer), 50), full_kernel(tensors, version, 50))
    assert_same(exported(tmp_path, checkpoint), tensors)

    small = last.prune(checkpoint, 0.5)
    (layer,) = small.layers
    found = exported(tmp_path, small)
    assert_close(full_kernel(found, version, 50), kernel(small.system(layer), 50))
    owner = next(name.removesuffix("C") for name in tensors if name.endswith(".C"))
    assert found[f"{owner}C"].shape == (directions, 4, layer.sizes.states, 2)
    assert found[f"{owner}B"].shape[-3] in (copies, 4)  # Shared still, where all channels kept the same.
    for channel, states in enumerate(small.stamp["pruned"][0]["layers"][0]["kept"]):  # The originals, unfolded.
        whole, part = tensors[f"{owner}C"], found[f"{owner}C"]
        np.testing.assert_array_equal(part[:, channel, : len(states)], whole[:, channel, states])


def test_a_masked_model_comes_back_in_its_old_shapes(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = full_s4d(rng, 4)
    small = last.prune(imported(tmp_path, tensors), 0.5, masked=True)
    report = export_weights(small, tmp_path / "back.safetensors")
    found = read_safetensors(tmp_path / "back.safetensors")
    assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in tensors.items()}
    assert not report.warnings
    assert_close(full_kernel(found, 4, 50), kernel(small.system(small.layers[0]), 50))


def test_b_is_folded_into_c_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    B, C = (rng.normal(size=(3, 5, 2)).astype(np.float32) for _ in range(2))
    found = fold(B, C)
    assert found.dtype == np.float32
    for (b, c), got in zip(zip(B.reshape(-1, 2), C.reshape(-1, 2), strict=True), found.reshape(-1, 2), strict=True):
        (br, bi), (cr, ci) = ([Fraction(float(x)) for x in pair] for pair in (b, c))
        for exact, value in zip((br * cr - bi * ci, br * ci + bi * cr), got, strict=True):
            assert abs(Fraction(float(value)) - exact) <= Fraction(float(np.spacing(np.abs(value)))) * Fraction(
                501, 1000
            )


def test_b_of_ones_leaves_c_as_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = full_s4d(rng, 4, ones=True)
    checkpoint = imported(tmp_path, tensors)
    assert not [key for key in checkpoint.leaves if key[0] == "imported"]
    np.testing.assert_array_equal(
        checkpoint.arrays(checkpoint.layers[0])["C"], tensors["model.layers.0.layer.layer.kernel.C"]
    )
    assert_same(exported(tmp_path, checkpoint), tensors)


def test_a_c_that_was_changed_since_is_exported_with_b_of_ones(tmp_path: Path, rng: np.random.Generator) -> None:
    checkpoint = imported(tmp_path, full_s4d(rng, 4))
    (layer,) = checkpoint.layers
    changed = {layer.leaves["C"]: 2 * checkpoint.arrays(layer)["C"]}
    found = exported(tmp_path, last.Checkpoint(**{**vars_of(checkpoint), "changed": changed}))
    assert_close(full_kernel(found, 4, 50), 2 * kernel(checkpoint.system(layer), 50))


@pytest.mark.parametrize(("real", "dt"), [("none", "exp"), ("softplus", "exp"), ("none", "softplus")])
def test_other_transforms_are_followed_when_they_are_named(
    tmp_path: Path, rng: np.random.Generator, real: str, dt: str
) -> None:
    tensors = full_s4d(rng, 4, copies=2)
    if real == "none":
        name = "model.layers.0.layer.layer.kernel.A_real"
        tensors[name] = np.exp(tensors[name])
    checkpoint = imported(tmp_path, tensors, real_transform=real, dt_transform=dt)
    (layer,) = checkpoint.layers
    assert_close(kernel(checkpoint.system(layer), 50), full_kernel(tensors, 4, 50, real, dt), 1e-5)
    assert_same(exported(tmp_path, checkpoint), tensors)
    small = last.prune(checkpoint, 0.5)
    found = full_kernel(exported(tmp_path, small), 4, 50, real, dt)
    assert_close(found, kernel(small.system(small.layers[0]), 50), 1e-5)


def test_what_the_full_code_s_files_do_not_say_is_reported(tmp_path: Path, rng: np.random.Generator) -> None:
    src = write_safetensors(tmp_path / "m.safetensors", full_s4d(rng, 4))
    report = import_weights(src, tmp_path / "a").as_json()
    assert report["schema"] == "last.import/1"
    assert report["assumed"] == {
        "discretization": "zoh",
        "real_transform": "exp",
        "dt_transform": "exp",
        "imag_transform": "none",
        "bandlimit": None,
    }
    notes = {row["source"].rsplit(".", 1)[-1]: row["note"] for row in report["keys"]}
    assert (notes["B"], notes["A_imag"]) == ("folded into C", "sign turned")
    src = write_safetensors(tmp_path / "m.safetensors", minimal_s4d(rng))
    assert not import_weights(src, tmp_path / "b").assumed


def test_older_names_mean_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = full_s4d(rng, 3)
    older = {n.replace("inv_A_real", "inv_w_real").replace("A_imag", "w_imag"): a for n, a in tensors.items()}
    first = imported(tmp_path, tensors)
    (tmp_path / "older").mkdir()
    second = imported(tmp_path / "older", older)
    assert first.digest == second.digest
    assert_same(exported(tmp_path, second), older)


def assert_close(found: np.ndarray, expected: np.ndarray, precision: float = 1e-6) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=precision * np.abs(expected).max())


def vars_of(checkpoint: last.Checkpoint) -> dict:
    return {name: getattr(checkpoint, name) for name in type(checkpoint).__dataclass_fields__}
