"""Flax msgpack files and checkpoints that were never imported: trees keep their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import msgpack_restore, to_bytes
from foreign import read_safetensors, write_safetensors
from random_layers import s5_arrays

import last_cli as last
from last_cli.base.errors import CheckpointError, OutputError, UsageError
from last_cli.checkpoint.convert import export_weights, import_weights
from last_cli.formats.digests import array_digests

SAMPLE = Path(__file__).parents[2] / "sample_checkpoints" / "s5-listops"


@pytest.fixture
def tree() -> dict:
    layer = s5_arrays(np.random.default_rng(0))
    return {
        "params": {"encoder": {"layers_0": {"seq": layer, "norm.scale": np.ones(3, jnp.bfloat16)}}},
        "step": 3,
        "lr": 0.1,
        "scalar": np.float32(2.5),
        "rng": np.array([1, 2], np.uint32),
        "done": None,
        "name": "run",
        "nothing": {},
        "none": np.zeros((0, 2), np.float32),
    }


def test_a_tree_comes_back_byte_by_byte(tmp_path: Path, tree: dict) -> None:
    (tmp_path / "m.msgpack").write_bytes(to_bytes(tree))
    report = import_weights(tmp_path / "m.msgpack", tmp_path / "ckpt")
    assert (report.source.format, report.family, report.layers) == ("msgpack", "s5", ["encoder/layers_0/seq"])
    export_weights(tmp_path / "ckpt", tmp_path / "back.msgpack")
    assert (tmp_path / "back.msgpack").read_bytes() == to_bytes(tree)


@pytest.mark.parametrize("mark", ["/", ",", "."])
@pytest.mark.parametrize("root", [(), ("params",)])
def test_names_that_are_joined_are_split_and_come_back_joined(tmp_path: Path, mark: str, root: tuple[str, ...]) -> None:
    layer = s5_arrays(np.random.default_rng(0))
    path = [*(() if root else ("params",)), "encoder", "layers_0", "seq"]
    flat: dict[str, Any] = {mark.join([*path, leaf]): array for leaf, array in layer.items()}
    flat = {root[0]: flat} if root else flat | {"step": 3}
    (tmp_path / "m.msgpack").write_bytes(to_bytes(flat))
    report = import_weights(tmp_path / "m.msgpack", tmp_path / "ckpt")
    assert report.layers == ["encoder/layers_0/seq"]
    export_weights(tmp_path / "ckpt", tmp_path / "back.msgpack")
    assert (tmp_path / "back.msgpack").read_bytes() == to_bytes(flat)
    small = last.prune(tmp_path / "ckpt", 0.5)
    export_weights(small, tmp_path / "small.msgpack")
    found: Any = msgpack_restore((tmp_path / "small.msgpack").read_bytes())
    assert found.keys() == flat.keys()


def test_the_configuration_beside_a_run_comes_along(tmp_path: Path, tree: dict) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint_3").write_bytes(to_bytes(tree))
    (tmp_path / "run" / "config.json").write_text('{"discretization": "bilinear", "clip_eigs": true}')
    before = last.load(tmp_path / "run")
    import_weights(tmp_path / "run", tmp_path / "ckpt")
    after = last.load(tmp_path / "ckpt")
    assert (after.config, after.digest) == (before.config, before.digest)
    assert after.config.discretization == "bilinear"
    assert {n for n, s in after.origins.items() if s == "checkpoint"} == {"discretization", "clip_eigs"}


def test_a_pruned_tree_comes_back_smaller(tmp_path: Path, tree: dict) -> None:
    (tmp_path / "m.msgpack").write_bytes(to_bytes(tree))
    import_weights(tmp_path / "m.msgpack", tmp_path / "ckpt")
    small = last.prune(last.load(tmp_path / "ckpt"), 0.5)
    export_weights(small, tmp_path / "back.msgpack")
    found: Any = msgpack_restore((tmp_path / "back.msgpack").read_bytes())
    assert found.keys() == tree.keys()
    (kept,) = (layer["kept"] for layer in small.stamp["pruned"][0]["layers"])
    seq = found["params"]["encoder"]["layers_0"]["seq"]
    np.testing.assert_array_equal(seq["B"], tree["params"]["encoder"]["layers_0"]["seq"]["B"][kept])


def test_other_checkpoints_are_exported_with_names_joined_by_dots_and_imported_again(tmp_path: Path) -> None:
    report = export_weights(SAMPLE, tmp_path / "m.safetensors")
    assert not report.mapped
    assert report.as_json()["schema"] == "last.export/1"
    checkpoint = last.load(SAMPLE)
    found = read_safetensors(tmp_path / "m.safetensors")
    assert {tuple(name.split(".")) for name in found} | {tuple(k.split("/")) for k in report.left_out} == {
        *checkpoint.leaves
    }
    import_weights(tmp_path / "m.safetensors", tmp_path / "ckpt")
    again = last.load(tmp_path / "ckpt")
    assert again.digest == checkpoint.digest
    assert {".".join(key) for key in again.leaves} == {*found}


def test_an_orbax_checkpoint_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is an Orbax checkpoint already") as caught:
        import_weights(SAMPLE, tmp_path / "ckpt")
    assert "as it is" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_an_export_spoils_nothing(tmp_path: Path, tree: dict) -> None:
    with pytest.raises(UsageError, match=r"the suffix '\.npz' names no format"):
        export_weights(SAMPLE, tmp_path / "m.npz")
    (tmp_path / "m.msgpack").write_bytes(to_bytes(tree))
    with pytest.raises(OutputError, match="exists already"):
        export_weights(SAMPLE, tmp_path / "m.msgpack")
    with pytest.raises(OutputError, match="inside the checkpoint"):
        export_weights(SAMPLE, SAMPLE / "m.msgpack")
    with pytest.raises(OutputError, match="there is no directory"):
        export_weights(SAMPLE, tmp_path / "no" / "m.msgpack")
    assert [path.name for path in tmp_path.iterdir()] == ["m.msgpack"]
    export_weights(SAMPLE, tmp_path / "m.msgpack", force=True)
    assert "encoder" in msgpack_restore((tmp_path / "m.msgpack").read_bytes())["params"]


@pytest.mark.parametrize("name", ["m.safetensors", "m.msgpack"])
def test_configuration_task_vocabulary_and_history_come_back(tmp_path: Path, name: str) -> None:
    small = last.prune(SAMPLE, 0.3)
    export_weights(small, tmp_path / name)
    import_weights(tmp_path / name, tmp_path / "ckpt")
    found = last.load(tmp_path / "ckpt")
    assert (found.config, found.task, found.digest) == (small.config, small.task, small.digest)
    assert len(found.task["vocabulary"]) == 18 and found.origins["activation"] == "checkpoint"
    assert found.stamp["pruned"] == small.stamp["pruned"]
    if name == "m.msgpack":  # and a file alone says it too
        alone = last.load(tmp_path / name)
        assert (alone.config, alone.task) == (small.config, small.task)
        assert "last" not in msgpack_restore((tmp_path / name).read_bytes())


@pytest.mark.parametrize(("name", "header"), [("m.safetensors", True), ("m.safetensors", False), ("m.msgpack", False)])
def test_a_flipped_bit_of_an_export_is_not_imported(tmp_path: Path, tree: dict, name: str, *, header: bool) -> None:
    (tmp_path / "source.msgpack").write_bytes(to_bytes(tree))
    small = last.prune(tmp_path / "source.msgpack", 0.3)
    export_weights(small, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little") if name == "m.safetensors" else len(whole) // 2
    rng = np.random.default_rng(0)
    for place in rng.integers(0, start, 30) if header else rng.integers(start, len(whole), 10):
        (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.integers(8)]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            import_weights(tmp_path / name, tmp_path / "ckpt")
    (tmp_path / name).write_bytes(whole)
    import_weights(tmp_path / name, tmp_path / "ckpt")


def test_a_file_that_is_replaced_takes_its_stamp_along(tmp_path: Path, tree: dict) -> None:
    export_weights(SAMPLE, tmp_path / "m.msgpack")
    assert (tmp_path / "m.msgpack.last.json").exists()
    (tmp_path / "bare.msgpack").write_bytes(to_bytes(tree))
    export_weights(tmp_path / "bare.msgpack", tmp_path / "m.msgpack", force=True)
    assert not (tmp_path / "m.msgpack.last.json").exists()
    (tmp_path / "n.msgpack.last.json").write_text("{}")
    with pytest.raises(OutputError, match=r"n\.msgpack\.last\.json: exists already"):
        export_weights(SAMPLE, tmp_path / "n.msgpack")
    assert not (tmp_path / "n.msgpack").exists()


@pytest.mark.parametrize("name", ["m.safetensors", "joined.msgpack"])
def test_a_stamp_beside_a_file_that_was_edited_is_said(tmp_path: Path, name: str) -> None:
    layer, path = s5_arrays(np.random.default_rng(0)), tmp_path / name
    if name == "joined.msgpack":
        path.write_bytes(to_bytes({f"params/seq/{leaf}": array for leaf, array in layer.items()}))
    else:
        write_safetensors(path, {f"seq.{leaf}": array for leaf, array in layer.items()}, {})
    stamp: dict[str, Any] = {"schema": "last.stamp/1", "last": last.__version__, "model": {"activation": "gelu"}}
    digests = array_digests({(f"seq.{leaf}",): array for leaf, array in layer.items()})
    arrays = {name: digest for (name,), digest in digests.items()}
    stamp["written"] = {"arrays": {"": arrays} if name != "joined.msgpack" else {}, "files": {}, "stamp": "sha256:0"}
    path.with_name(f"{name}.last.json").write_text(json.dumps(stamp))
    assert "last.json: is not as `last` wrote it: it was edited" in import_weights(path, tmp_path / "ckpt").warnings[0]


def test_a_header_that_is_not_ours_stays_as_it_is(tmp_path: Path) -> None:
    tensors = {"seq." + name: array for name, array in s5_arrays(np.random.default_rng(0)).items()}
    for entry in ("a note", '["a list"]'):
        path = write_safetensors(tmp_path / "m.safetensors", tensors, {"format": "pt", "last": entry})
        import_weights(path, tmp_path / "ckpt", force=True)
        export_weights(tmp_path / "ckpt", tmp_path / "again.safetensors", force=True)
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    write_safetensors(path, tensors, {"last": '{"model": 3}'})
    with pytest.raises(CheckpointError, match=r"m.safetensors: not as `last` writes it: model is int"):
        import_weights(path, tmp_path / "other")
