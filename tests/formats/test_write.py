"""A changed copy mirrors its source and loses nothing; a new checkpoint is one of Orbax."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from checkpoint_fixtures import READABLE, paths_of
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


@pytest.mark.parametrize(("name", "path"), paths_of(READABLE))
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
