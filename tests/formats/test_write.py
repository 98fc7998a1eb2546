"""A changed copy mirrors its source and loses nothing; a new checkpoint is one of Orbax."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from checkpoint_fixtures import READABLE, whole_ones
from stamps import said

from last_cli import formats
from last_cli.base.errors import CheckpointError, OutputError
from last_cli.formats import Key
from last_cli.formats.account import check_replaceable

STAMP = {"last": "0", "kept": [1, 2]}

# What a mirrored tree has no more: devices, and the parts that each process wrote; or has otherwise: data.
LEFT_OUT = re.compile(r"_sharding|array_metadatas|ocdbt\.process_\d+|d|[\d.]+|.*\.orbax-checkpoint-tmp.*")


class LazilyCut(Mapping[Key, np.ndarray]):
    """The leaves of the states without the last state, each read when it is asked for."""

    def __init__(self, index: formats.Index) -> None:
        self.index = index
        names = ("Lambda_re", "B", "log_step", "A_re")
        self.cut = [key for key, leaf in index.leaves.items() if key[-1] in names and leaf.shape and leaf.shape[0] > 1]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.cut)

    def __len__(self) -> int:
        return len(self.cut)

    def __getitem__(self, key: Key) -> np.ndarray:
        if key not in self.cut:
            raise KeyError(key)
        return formats.read(self.index, [key])[key][:-1]


@pytest.mark.parametrize(("name", "path"), whole_ones(READABLE))
def test_mirrors_every_layout(fixtures: Path, tmp_path: Path, name: str, path: str) -> None:
    source = formats.index(fixtures / name / path)
    changed = LazilyCut(source)
    formats.save(tmp_path / "out", source=source, changed=changed, stamp=STAMP)
    out = formats.index(tmp_path / "out")
    before, after = formats.read(source), formats.read(out)
    assert [*after] == [*before]
    for key, array in before.items():
        wanted = changed[key] if key in changed.cut else array
        assert (after[key].dtype, after[key].shape) == (wanted.dtype, wanted.shape), key
        assert after[key].tobytes() == wanted.tobytes(), key
    assert {key: leaf.kind for key, leaf in out.leaves.items()} == {k: leaf.kind for k, leaf in source.leaves.items()}
    assert all(out.tree.inline[key] == value for key, value in source.tree.inline.items() if isinstance(value, str))
    assert (out.location.layout, said(out), out.warnings) == (source.location.layout, STAMP, ())
    if path == "ckpt":
        assert (out.location.step, out.location.item) == (source.location.step, source.location.item)
        assert out.config == source.config
        assert _names(source) == _names(out) - {"last.json"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out"]
    check_replaceable(tmp_path / "out")


def test_leaves_the_source_alone(fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / "cur_manager_composite_qs5" / "ckpt", tmp_path / "ckpt")
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*") if file.is_file()}
    source = formats.index(path)
    formats.save(tmp_path / "out", source=source, changed=LazilyCut(source), stamp=STAMP)
    assert before == {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in path.rglob("*") if f.is_file()}


def test_stamps_the_custom_metadata(fixtures: Path, tmp_path: Path) -> None:
    source = formats.index(fixtures / "cur_v1_save_pytree" / "ckpt")
    formats.save(tmp_path / "out", source=source, changed={}, stamp=STAMP)
    custom = json.loads((tmp_path / "out" / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
    assert custom == {"conj_sym": True, "bidirectional": True, "last": STAMP}
    (tmp_path / "out" / "last.json").unlink()
    again = formats.index(tmp_path / "out")
    assert (again.stamp, again.config) == (STAMP, source.config)


def test_copies_the_config_but_no_strangers(fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "ckpt")
    (path / "config.json").write_text('{"conj_sym": true}')
    (path / "README.md").write_text("")
    (path / "plots").mkdir()
    source = formats.index(path)
    for _ in range(2):
        formats.save(tmp_path / "out", source=source, changed={}, stamp=STAMP, force=True)
    assert formats.index(tmp_path / "out").config == {"file:config.json": {"conj_sym": True}}
    assert not {"README.md", "plots"} & {entry.name for entry in (tmp_path / "out").iterdir()}


def test_copies_every_item(fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / "cur_manager_composite_qs5" / "ckpt", tmp_path / "ckpt")
    (path / "3" / "iterator").mkdir()
    (path / "3" / "iterator" / "position.bin").write_bytes(b"7")
    source = formats.index(path)
    formats.save(tmp_path / "out", source=source, changed={}, stamp=STAMP)
    assert (tmp_path / "out" / "3" / "iterator" / "position.bin").read_bytes() == b"7"


def test_changes_other_items_too(fixtures: Path, tmp_path: Path) -> None:
    step = tmp_path / "run" / "4"
    for item in ("default", "opt_state"):
        shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", step / item)
    source = formats.index(tmp_path / "run")
    other = formats.index(tmp_path / "run", item="opt_state")
    assert source.location.items == ("default", "opt_state")
    key = ("params", "encoder", "layers_0", "seq", "B")
    value = formats.read(other, [key])[key][:3]
    formats.save(tmp_path / "out", source=source, changed={}, stamp=STAMP, also={"opt_state": {key: value}})
    assert formats.index(tmp_path / "out").leaves[key].shape == (12, 8, 2)
    assert formats.index(tmp_path / "out", item="opt_state").leaves[key].shape == (3, 8, 2)


def test_writes_a_new_checkpoint(tmp_path: Path) -> None:
    arrays = {("params", "a.b"): np.arange(3, dtype=np.float32), ("step",): np.int32(4)}
    formats.save(tmp_path / "new", source=None, changed=arrays, stamp=STAMP)
    index = formats.index(tmp_path / "new")
    assert said(index) == STAMP
    for key, array in formats.read(index).items():
        assert array.dtype == arrays[key].dtype
        assert np.array_equal(array, arrays[key])


def test_refuses_an_output_that_touches_the_input(fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "in" / "ckpt")
    (tmp_path / "link").symlink_to(path)
    source = formats.index(path)
    for out, words in [
        (path, "the output is the input itself"),
        (tmp_path / "link", "the output is the input itself"),
        (path / "pruned", "the output lies inside the input"),
        (tmp_path / "in", "the output lies around the input"),
    ]:
        with pytest.raises(OutputError, match=words):
            formats.save(out, source=source, changed={}, stamp=STAMP, force=True)


def test_replaces_only_a_checkpoint_and_only_when_told(fixtures: Path, tmp_path: Path) -> None:
    source = formats.index(fixtures / "cur_manager_composite_qs5" / "ckpt")
    out = tmp_path / "out"
    formats.save(out, source=source, changed={}, stamp=STAMP)
    with pytest.raises(OutputError, match="exists already") as caught:
        formats.save(out, source=source, changed={}, stamp=STAMP)
    assert "force" in caught.value.options
    formats.save(out, source=source, changed={}, stamp={"again": 1}, force=True)
    assert said(formats.index(out)) == {"again": 1}
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"holds more than a checkpoint \(thesis.tex\)"):
        formats.save(out, source=source, changed={}, stamp=STAMP, force=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "notes").write_text("")
    with pytest.raises(OutputError, match=r"not known as one checkpoint"):
        formats.save(tmp_path / "home", source=source, changed={}, stamp=STAMP, force=True)
    with pytest.raises(OutputError, match="there is no directory"):
        formats.save(tmp_path / "nowhere" / "out", source=source, changed={}, stamp=STAMP)


def test_a_damaged_source_leaves_no_output(fixtures: Path, tmp_path: Path) -> None:
    source = formats.index(fixtures / "bad_missing_zarr_chunk" / "ckpt")
    with pytest.raises(CheckpointError, match="is missing"):
        formats.save(tmp_path / "out", source=source, changed=LazilyCut(source), stamp=STAMP)
    assert not list(tmp_path.iterdir())


def _names(index: formats.Index) -> set[str]:
    """The names of all files of the checkpoint that was read, the other steps of its run left out."""
    root, directory = index.location.root, index.location.directory
    own = directory.relative_to(root).parts[:1]
    files = (file.relative_to(root).parts for file in root.rglob("*") if file.is_file())
    chosen = (parts for parts in files if parts[:1] == own or not own or not re.search(r"\d$", parts[0]))
    return {
        "/".join(parts) for parts in chosen if not any(LEFT_OUT.fullmatch(part) for part in parts if (part,) != own)
    }


@pytest.fixture
def tree(fixtures: Path) -> formats.Index:
    """A tree that is one msgpack file."""
    return formats.index(fixtures / "cur_msgpack_to_bytes_aire" / "ckpt" / "best_state.msgpack")


def test_a_msgpack_file_is_written_as_one_with_its_stamp_beside_it(tree: formats.Index, tmp_path: Path) -> None:
    formats.save(tmp_path / "small.msgpack", source=tree, changed=LazilyCut(tree), stamp=STAMP)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["small.msgpack", "small.msgpack.last.json"]
    out = formats.index(tmp_path / "small.msgpack")
    assert said(out) == STAMP
    assert LazilyCut(tree).cut and all(out.leaves[key].shape != tree.leaves[key].shape for key in LazilyCut(tree).cut)
    with pytest.raises(OutputError, match="exists already"):
        formats.save(tmp_path / "small.msgpack", source=tree, changed={}, stamp=STAMP)
    formats.save(tmp_path / "small.msgpack", source=tree, changed={}, stamp={"again": 1}, force=True)
    assert said(formats.index(tmp_path / "small.msgpack")) == {"again": 1}


def test_any_other_name_is_of_a_folder_that_holds_it(tree: formats.Index, tmp_path: Path) -> None:
    formats.save(tmp_path / "pruned", source=tree, changed={}, stamp=STAMP)
    assert sorted(entry.name for entry in (tmp_path / "pruned").iterdir()) == ["best_state.msgpack", "last.json"]


def test_what_is_no_msgpack_file_is_not_written_as_one(fixtures: Path, tmp_path: Path) -> None:
    source = formats.index(fixtures / "cur_pytree_ocdbt" / "ckpt")
    with pytest.raises(OutputError, match="only a tree that is a msgpack file") as caught:
        formats.check_output(tmp_path / "small.msgpack", source=source)
    assert "last export" in caught.value.hint


@pytest.mark.parametrize("name", ["small.msgpack", "small.msgpack.last.json"])
def test_no_other_file_is_replaced_by_one(tree: formats.Index, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"years": "of work"}')
    with pytest.raises(OutputError):
        formats.save(tmp_path / "small.msgpack", source=tree, changed={}, stamp=STAMP, force=True)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_the_stamp_of_a_killed_writer_follows_its_file(tree: formats.Index, tmp_path: Path) -> None:
    out = tmp_path / "small.msgpack"
    formats.save(out, source=tree, changed={}, stamp=STAMP)
    place = tmp_path / ".small.msgpack.last-stage-0a"
    place.mkdir()
    (place / "lock").touch()
    (tmp_path / "small.msgpack.last.json").rename(place / "stamp")
    with pytest.raises(OutputError, match="exists already"):
        formats.save(out, source=tree, changed={}, stamp=STAMP)
    assert said(formats.index(out)) == STAMP
    assert not place.exists()


def test_the_modes_of_a_source_on_read_only_media_are_not_copied(fixtures: Path, tmp_path: Path) -> None:
    for name in ("cur_pytree_noocdbt", "cur_manager_composite_qs5"):
        path = shutil.copytree(fixtures / name / "ckpt", tmp_path / name)
        (path / "config.json").write_text("{}")
        entries = [path, *path.rglob("*")]
        for entry in entries:
            entry.chmod(0o555 if entry.is_dir() else 0o444)
        formats.save(tmp_path / "out", source=formats.index(path), changed={}, stamp=STAMP, force=name[-1] == "5")
        assert all(entry.stat().st_mode & 0o200 for entry in (tmp_path / "out").rglob("*"))
        for entry in entries:
            entry.chmod(0o755)


@pytest.mark.parametrize("source", ["cur_pytree_ocdbt", "cur_manager_composite_qs5", None])
def test_no_file_names_the_place_where_it_was_made(fixtures: Path, tmp_path: Path, source: str | None) -> None:
    index = formats.index(fixtures / source / "ckpt") if source else None
    formats.save(tmp_path / "out", source=index, changed={("a",): np.ones(3)} if not index else {}, stamp=STAMP)
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or (b"last-stage" not in file.read_bytes() and b"/tmp" not in file.read_bytes())


def test_links_are_not_followed_out_of_a_checkpoint(fixtures: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"password": 1}')
    path = shutil.copytree(fixtures / "cur_manager_composite_qs5" / "ckpt", tmp_path / "ckpt")
    (path / "3" / "config.json").symlink_to(tmp_path / "secret")
    (path / "3" / "metadata" / "more").symlink_to(tmp_path / "secret")
    (path / "3" / "folder").symlink_to(tmp_path)
    (path / "3" / "own.json").symlink_to(path / "3" / "metadata" / "metadata")
    source = formats.index(path)
    assert any("config.json, folder, metadata/more" in warning for warning in source.warnings), source.warnings
    formats.save(tmp_path / "out", source=source, changed={}, stamp=STAMP)
    assert (tmp_path / "out" / "3" / "own.json").read_bytes() == (path / "3" / "metadata" / "metadata").read_bytes()
    for file in (tmp_path / "out").rglob("*"):
        assert not file.is_symlink()
        assert file.is_dir() or b"password" not in file.read_bytes()


def test_a_chunk_that_is_a_link_out_is_refused(fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / "cur_pytree_noocdbt" / "ckpt", tmp_path / "ckpt")
    chunk = next(path.glob("*/0"))
    chunk.symlink_to(chunk.rename(tmp_path / "secret"))
    with pytest.raises(CheckpointError, match="a link that leads out of the checkpoint") as caught:
        formats.save(tmp_path / "out", source=formats.index(path), changed={}, stamp=STAMP)
    assert "cp -rL" in caught.value.hint
    assert not (tmp_path / "out").exists()
