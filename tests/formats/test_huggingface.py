"""Model directories are read without PyTorch and written back as they were: files, names, dtypes, order, ties."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from archives import unpacked

from last_cli import formats
from last_cli.base.errors import CheckpointError, OutputError
from last_cli.formats import safetensors, torch_zip
from last_cli.formats.account import check_replaceable
from last_cli.formats.format import Changes, Resized, format_named

DATA = Path(__file__).parents[1] / "data" / "mamba2" / "oracle.tar.xz"
NAMES = ["hf_base", "hf_bf16_sharded", "ssm_mlp", "ssm_bf16", "mil_base"]
SHARDED, TORCH = "hf_bf16_sharded", ["ssm_mlp", "ssm_bf16"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    unpacked(DATA, directory)
    return directory


def mirrored(index: formats.Index, out: Path, **changes) -> formats.Index:
    out.mkdir()
    format_named("huggingface").mirror(index, out, Changes(changes.pop("leaves", {}), {}, {}, Resized(**changes)))
    return formats.index(out)


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_a_leaf_of_its_own_dtype(directories: Path, name: str) -> None:
    index = formats.index(directories / name / "checkpoint")
    arrays = formats.read(index)
    half = name in ("hf_bf16_sharded", "ssm_bf16")
    assert {a.dtype for a in arrays.values()} == {np.dtype(ml_dtypes.bfloat16 if half else np.float32)}
    assert all(arrays[key].shape == leaf.shape for key, leaf in index.leaves.items())
    assert all(np.isfinite(array.astype(float)).all() for array in arrays.values())
    assert index.location.layout == ("huggingface-torch" if name in TORCH else "huggingface-safetensors")
    assert index.config["file:config.json"]


def test_settings_beside_config_json_are_read(directories: Path) -> None:
    assert formats.index(directories / "mil_base" / "checkpoint").config["file:mamba_config.json"]["d_xb"] == 16


def test_an_infinity_is_read_in_both_spellings_and_left_as_found(directories: Path, tmp_path: Path) -> None:
    for spelled in ('{"__float__": "Infinity"}', "Infinity"):
        source = tmp_path / f"source-{len(spelled)}"
        shutil.copytree(directories / "hf_base" / "checkpoint", source)
        text = (source / "config.json").read_text()
        limit = json.dumps(json.loads(text)["time_step_limit"][1], indent=2).replace("\n", "\n    ")
        assert limit in text
        (source / "config.json").write_text(text.replace(limit, spelled))
        settings = {"config.json": {("state_size",): 8}}
        mirrored(formats.index(source), tmp_path / f"out-{len(spelled)}", settings=settings)
        old, new = (json.loads((d / "config.json").read_text()) for d in (source, tmp_path / f"out-{len(spelled)}"))
        assert new == {**old, "state_size": 8} and list(new) == list(old)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_without_changes_is_equal_byte_for_byte(directories: Path, tmp_path: Path, name: str) -> None:
    source = directories / name / "checkpoint"
    index = formats.index(source)
    again = mirrored(index, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in source.iterdir())
    for file in source.glob("*.json"):
        assert (tmp_path / "out" / file.name).read_text() == file.read_text()
    for file in source.glob("*.safetensors"):
        old, new = safetensors.header(file), safetensors.header(tmp_path / "out" / file.name)
        assert (list(old.tensors), old.metadata) == (list(new.tensors), new.metadata)
    assert list(again.leaves) == list(index.leaves)
    one, other = formats.read(index), formats.read(again)
    assert all(one[key].tobytes() == other[key].tobytes() and one[key].dtype == other[key].dtype for key in one)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "mil_base"])
def test_a_changed_tensor_has_its_new_shape_and_the_others_stay(directories: Path, tmp_path: Path, name: str) -> None:
    index = formats.index(directories / name / "checkpoint")
    key = next(key for key in index.leaves if key[-2:] == ("in_proj", "weight"))
    half = formats.read(index, [key])[key][::2]
    again = mirrored(index, tmp_path / "out", leaves={key: half}, shapes={key: half.shape})
    found = formats.read(again)
    assert found[key].tobytes() == np.ascontiguousarray(half).tobytes() and found[key].dtype == half.dtype
    others = [k for k in index.leaves if k != key]
    assert all(found[k].tobytes() == formats.read(index, [k])[k].tobytes() for k in others)
    if name == SHARDED:
        total = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["metadata"]
        numbers = sum(array.size for array in found.values())
        assert total == {"total_parameters": numbers, "total_size": 2 * numbers}


def test_tied_tensors_stay_one_storage(directories: Path, tmp_path: Path) -> None:
    index = formats.index(directories / "ssm_mlp" / "checkpoint")
    embedding = ("backbone", "embedding", "weight")
    more = np.concatenate([formats.read(index, [embedding])[embedding]] * 2)
    mirrored(index, tmp_path / "out", leaves={embedding: more})
    file = torch_zip.opened(tmp_path / "out" / "pytorch_model.bin")
    tied, head = file.tensors["backbone.embedding.weight"], file.tensors["lm_head.weight"]
    assert (tied.storage, tied.shape) == (head.storage, head.shape) == (tied.storage, more.shape)
    assert (file.read("lm_head.weight") == more).all()
    both = {embedding: more, ("lm_head", "weight"): more}
    mirrored(index, tmp_path / "again", leaves=both)


def test_a_missing_shard_and_one_outside_are_refused(directories: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    shutil.copytree(directories / SHARDED / "checkpoint", source)
    (source / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"names model-00002-of-00004\.safetensors, which is not there"):
        formats.index(source)
    file = source / "model.safetensors.index.json"
    file.write_text(file.read_text().replace("model-00001", "../model-00001"))
    with pytest.raises(CheckpointError, match="points out of the directory"):
        formats.index(source)


def test_links_are_not_followed_out_of_the_directory(directories: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    shutil.copytree(directories / "hf_base" / "checkpoint", source)
    (tmp_path / "secret").write_text("a key")
    (source / "notes.txt").symlink_to(tmp_path / "secret")
    (source / "ring").symlink_to("ring")
    (source / "original").mkdir()
    index = formats.index(source)
    assert "are left out of copies: notes.txt, original, ring" in index.warnings[0]
    mirrored(index, tmp_path / "out")
    assert not (tmp_path / "out" / "notes.txt").exists()


def test_weights_that_are_not_read_are_not_copied(directories: Path, tmp_path: Path) -> None:
    """A copy with smaller tensors beside the old ones would be two models."""
    source = tmp_path / "model"
    shutil.copytree(directories / "hf_base" / "checkpoint", source)
    for name in ("pytorch_model.bin", "model-00001-of-00002.safetensors", "training_args.bin"):
        (source / name).write_bytes(b"old")
    (source / "pytorch_model.bin.index.json").write_text('{"weight_map": {}}')
    index = formats.index(source)
    assert "model-00001-of-00002.safetensors, pytorch_model.bin, which hold weights too" in index.warnings[0]
    mirrored(index, tmp_path / "out")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "training_args.bin"}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_part_of_the_model_that_lies_elsewhere_is_no_part_of_a_copy(
    directories: Path, tmp_path: Path, name: str
) -> None:
    source = tmp_path / "model"
    shutil.copytree(directories / "hf_base" / "checkpoint", source)
    (source / name).rename(tmp_path / name)
    (source / name).symlink_to(tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"{name}: a link that leads out of the model"):
        mirrored(formats.index(source), tmp_path / "out")


@pytest.mark.parametrize("case", ["hf_base", SHARDED, "ssm_bf16"])
def test_the_cache_of_the_hub_is_links_to_blobs(directories: Path, tmp_path: Path, case: str) -> None:
    snapshot, blobs = tmp_path / "models--x" / "snapshots" / "1a2b", tmp_path / "models--x" / "blobs"
    shutil.copytree(directories / case / "checkpoint", blobs)
    snapshot.mkdir(parents=True)
    for blob in sorted(blobs.iterdir()):
        (snapshot / blob.name).symlink_to(f"../../blobs/{blob.name}")
    (tmp_path / "short").symlink_to(snapshot)
    for number, named in enumerate((snapshot, tmp_path / "short", snapshot / ".." / "1a2b")):
        index = formats.index(named)
        assert not index.warnings
        mirrored(index, out := tmp_path / str(number))
        assert {file.name for file in out.iterdir()} == {blob.name for blob in blobs.iterdir()}
        assert not any(file.is_symlink() for file in out.iterdir())


@pytest.mark.parametrize("metadata", [[1], "abc", 5])
def test_an_index_whose_metadata_are_none(directories: Path, tmp_path: Path, metadata: object) -> None:
    source = tmp_path / "model"
    shutil.copytree(directories / SHARDED / "checkpoint", source)
    file = source / "model.safetensors.index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"metadata": metadata}))
    with pytest.raises(CheckpointError, match="`metadata` is no object"):
        mirrored(formats.index(source), tmp_path / "out")
    file.write_text(json.dumps({"weight_map": {"a": "x" * 300}}))
    with pytest.raises(CheckpointError, match="which is not there"):
        formats.index(source)


def test_settings_in_another_encoding(directories: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    shutil.copytree(directories / "hf_base" / "checkpoint", source)
    file = source / "config.json"
    file.write_bytes(file.read_text().encode("utf-16"))
    changed = mirrored(formats.index(source), tmp_path / "out", settings={"config.json": {("state_size",): 8}})
    assert changed.config["file:config.json"]["state_size"] == 8


def test_an_index_or_a_link_beside_an_output_is_a_stranger(directories: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    formats.save(out, source=formats.index(directories / "hf_base" / "checkpoint"), changed={}, stamp={"schema": "x"})
    check_replaceable(out)
    index = out / "model.safetensors.index.json"
    index.write_text("{}")
    with pytest.raises(OutputError, match=r"model\.safetensors\.index\.json"):
        check_replaceable(out)
    index.unlink()
    (out / "model.safetensors").symlink_to((out / "model.safetensors").rename(tmp_path / "mine"))
    with pytest.raises(OutputError, match=r"model\.safetensors"):
        check_replaceable(out)
