"""Every fixture is read exactly as it was written, or refused with the words that its manifest asks for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoint_fixtures import MANIFEST, READABLE, UNREADABLE, expected, expected_others, paths_of

from last_cli import formats
from last_cli.base.errors import CheckpointError


@pytest.mark.parametrize(("name", "path"), paths_of(READABLE))
def test_reads_what_was_written(fixtures: Path, name: str, path: str) -> None:
    index = formats.index(fixtures / name / path)
    arrays = {"/".join(key): array for key, array in formats.read(index).items()}
    if (fixtures / name / "expected.npz").exists():
        written = expected(fixtures / name)
        assert arrays.keys() == written.keys()
        for key, array in written.items():
            assert (arrays[key].dtype, arrays[key].shape) == (array.dtype, array.shape), key
            assert arrays[key].tobytes() == array.tobytes(), key
        values = {"/".join(key): index.tree.inline.get(key) for key in index.leaves}
        assert all(values[key] == value for key, value in expected_others(fixtures / name).items())
    for key, leaf in index.leaves.items():
        if leaf.kind in ("array", "scalar"):
            array = arrays["/".join(key)]
            assert (leaf.shape, leaf.dtype) == (array.shape, array.dtype.name)
    if "step" in MANIFEST[name]["says"]:
        assert index.location.step == MANIFEST[name]["says"]["step"]
    assert index.warnings == ()


@pytest.mark.parametrize("name", UNREADABLE)
def test_says_what_is_wrong(fixtures: Path, name: str) -> None:
    path = fixtures / name / MANIFEST[name]["user_paths"][0]
    with pytest.raises(CheckpointError, match=UNREADABLE[name]) as caught:
        formats.read(formats.index(path))
    assert str(fixtures / name) in caught.value.message
    assert caught.value.hint


def test_indexes_without_reading(fixtures: Path) -> None:
    index = formats.index(fixtures / "bad_missing_zarr_chunk" / "ckpt")
    key = ("params", "encoder", "layers_1", "seq", "B")
    assert index.leaves[key].shape == (12, 8, 2)
    other = ("params", "encoder", "layers_0", "seq", "B")
    assert formats.read(index, [other])[other].shape == (12, 8, 2)
    assert "parts of params.encoder.layers_1.seq.B are missing" in index.warnings[0]


def test_keys_with_dots_stay_whole(fixtures: Path) -> None:
    index = formats.index(fixtures / "cur_dotted_names" / "ckpt")
    assert ("params", "encoder.layers.0", "seq", "Lambda_re") in index.leaves


def test_a_string_is_no_array(fixtures: Path) -> None:
    index = formats.index(fixtures / "cur_flax_orbax_lobs5pred" / "ckpt")
    assert index.leaves["config", "C_init"].kind == "string"
    assert index.leaves["config", "restore"].kind == "none"
    with pytest.raises(CheckpointError, match="leaf config/C_init is no array but string"):
        formats.read(index, [("config", "C_init")])


@pytest.mark.parametrize(
    ("name", "path", "where", "key", "value"),
    [
        ("cur_flax_orbax_lobs5pred", "ckpt", "leaves", "discretization", "zoh"),
        ("cur_flax_orbax_lobs5pred", "ckpt", "leaves", "conj_sym", True),
        ("o048_lobs5pred_strings", "ckpt", "leaves", "d_model", 8),
        ("cur_v1_save_pytree", "ckpt", "custom_metadata", "bidirectional", True),
        ("o01125_v1_save_pytree", "ckpt", "custom_metadata", "conj_sym", True),
        ("o064_manager_composite_qs5", "ckpt", "root_metadata", "clip_eigs", True),
        ("o01125_manager_composite_qs5", "ckpt/2/state", "root_metadata", "clip_eigs", True),
        ("cur_manager_composite_qs5", "ckpt/3", "item:metadata", "best_test_acc", 0.9),
        ("cur_manager_best_metrics_prefix", "ckpt", "item:metrics", "val_acc", 0.8),
        ("o027_manager_legacy_items", "ckpt", "item:metadata", "epoch", 7),
    ],
)
def test_finds_the_config(fixtures: Path, name: str, path: str, where: str, key: str, value: object) -> None:
    assert formats.index(fixtures / name / path).config[where][key] == value


def test_finds_the_custom_metadata_of_step_and_tree(fixtures: Path) -> None:
    config = formats.index(fixtures / "cur_pytree_custom_metadata" / "ckpt").config
    assert config["custom_metadata"]["step_level"] == config["tree_metadata"]["model"]


def test_config_that_is_no_json_is_a_warning(fixtures: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(fixtures / "cur_standard_params" / "ckpt", tmp_path / "ckpt")
    (copy / "_CHECKPOINT_METADATA").write_text("{")
    assert "_CHECKPOINT_METADATA: not valid JSON" in formats.index(copy).warnings[0]


def test_arrays_beside_the_tree_are_a_warning(fixtures: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(fixtures / "cur_standard_params" / "ckpt", tmp_path / "ckpt")
    metadata = json.loads((copy / "_METADATA").read_text())
    del metadata["tree_metadata"]["('params', 'decoder', 'bias')"]
    (copy / "_METADATA").write_text(json.dumps(metadata))
    assert (
        "stored arrays that are no leaf of the tree are passed over: params.decoder.bias"
        in formats.index(copy).warnings[0]
    )


@pytest.mark.parametrize(("name", "chunk"), [("o027_pytree_default", "0"), ("o048_pytree_noocdbt", "0")])
def test_zeros_that_old_stores_left_out_are_a_warning(fixtures: Path, tmp_path: Path, name: str, chunk: str) -> None:
    copy = shutil.copytree(fixtures / name / "ckpt", tmp_path / "ckpt")
    (copy / "params.decoder.bias" / chunk).unlink()
    index = formats.index(copy)
    assert "parts of params.decoder.bias are not stored and read as zeros" in index.warnings[0]
    key = ("params", "decoder", "bias")
    assert not formats.read(index, [key])[key].any()


def test_imports_neither_jax_nor_orbax(fixtures: Path) -> None:
    code = (
        "import sys; from last_cli import formats\n"
        "formats.read(formats.index(sys.argv[1]))\n"
        "print(sorted({'jax', 'flax', 'orbax', 'optax'} & sys.modules.keys()))"
    )
    path = fixtures / "cur_manager_composite_qs5" / "ckpt"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_scalars_are_arrays_without_axes(fixtures: Path) -> None:
    index = formats.index(fixtures / "cur_fp64_numpy" / "ckpt")
    assert index.leaves[("lr",)].kind == "scalar"
    assert formats.read(index, [("lr",)])[("lr",)].shape == ()
    assert isinstance(formats.read(index, [("lr",)])[("lr",)], np.ndarray)
