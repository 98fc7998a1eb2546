"""Only what is accounted for file by file, as one checkpoint, is ever replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint_fixtures import READABLE
from language_models import directories

import last_cli as last
from last_cli import formats
from last_cli.base.errors import OutputError
from last_cli.formats import locate, msgpack
from last_cli.formats.account import check_replaceable

STAMP = {"schema": "last.stamp/1", "last": "0.1.0"}
NO_FOLDERS = ("cur_flax_orbax_s4d", "shape_zero_states")
FOLDERS = [name for name in READABLE if "msgpack" not in name and name not in NO_FOLDERS]


def is_replaceable(out: Path) -> bool:
    try:
        check_replaceable(out)
    except OutputError as error:
        assert error.hint
        return False
    return True


def add(path: Path, text: str = "years of work") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def linked(file: Path) -> None:
    """A link in the place of a file."""
    file.symlink_to(file.rename(file.parent.parent / file.name))


@pytest.mark.parametrize("name", FOLDERS)
def test_of_every_layout_all_files_are_known(fixtures: Path, name: str) -> None:
    location = locate(fixtures / name / "ckpt")
    assert is_replaceable(location.directory if location.item is None else location.directory.parent)
    if location.item is not None:
        assert is_replaceable(location.directory)


WAYS: dict[str, Callable[[Path], object]] = {
    "a git project": lambda out: add(out / ".git" / "config"),
    "notes": lambda out: add(out / "notes.txt"),
    "results": lambda out: add(out / "results.json", "{}"),
    "a configuration": lambda out: add(out / "config.json", "{}"),
    "a file in the database": lambda out: add(out / "d" / "notes"),
    "a file of a process": lambda out: add(out / "ocdbt.process_0" / "thesis.tex"),
    "another tree": lambda out: shutil.copytree(out, out / "before"),
    "another model": lambda out: add(out / "best.msgpack", "\x80"),
    "a last.json of a trainer": lambda out: add(out / "last.json", '{"loss": 0.1}'),
    "a link to a directory": lambda out: (out / "plots").symlink_to(out.parent),
    "a link to a file": lambda out: linked(out / "_sharding"),
    "an array of one's own": lambda out: add(out / "measured" / ".zarray"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_stranger_is_not_replaced(fixtures: Path, tmp_path: Path, way: str) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    assert is_replaceable(out)
    WAYS[way](out)
    assert not is_replaceable(out)


@pytest.mark.parametrize("name", ["notes.txt", "0.0.0.bak", "9.9.9", "0", "x/0.0.0", ".zattrs"])
def test_a_stranger_among_the_chunks_is_not_replaced(fixtures: Path, tmp_path: Path, name: str) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_noocdbt" / "ckpt", tmp_path / "out")
    assert is_replaceable(out)
    add(next(out.glob("*.B")) / name)
    assert not is_replaceable(out)


@pytest.mark.parametrize("name", ["hf_bf16_sharded", "ssm_bf16"])
def test_of_a_model_directory_only_what_was_written_is_replaced(tmp_path: Path, name: str) -> None:
    source = shutil.copytree(directories() / name / "checkpoint", tmp_path / "source")
    for copied in ("README.md", "tokenizer.json", "training_args.bin"):
        (source / copied).write_text("{}")
    small = last.prune(source, 0.5)
    out = last.save(small, tmp_path / "out")
    last.save(small, out, force=True)
    for stranger in ("NOTES.md", "model-00009-of-00009.safetensors", "original"):
        add(out / stranger)
        with pytest.raises(OutputError, match=rf"holds more than a checkpoint \({stranger}\), so it is not replaced"):
            last.save(small, out, force=True)
        (out / stranger).unlink()
    (out / "README.md").write_text("what I found")
    with pytest.raises(OutputError, match=r"more than a checkpoint \(README\.md\)"):
        last.save(small, out, force=True)
    with pytest.raises(OutputError, match=r"more than a checkpoint \(README\.md, config\.json"):
        last.save(small, shutil.copytree(source, tmp_path / "downloaded"), force=True)


def test_a_file_named_like_those_of_a_database_is_a_stranger_where_the_stamp_has_a_list(
    fixtures: Path, tmp_path: Path
) -> None:
    small = last.prune(fixtures / "cur_pytree_ocdbt" / "ckpt", 0.5)
    out = last.save(small, tmp_path / "out")
    last.save(small, out, force=True)
    add(out / "d" / ("0123456789abcdef" * 2))
    with pytest.raises(OutputError, match=r"more than a checkpoint \(d/0123456789abcdef0123456789abcdef\)"):
        last.save(small, out, force=True)


def test_up_to_three_strangers_are_named(fixtures: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    for name in "aefgh":
        add(out / name)
    with pytest.raises(OutputError, match=r"holds more than a checkpoint \(a, e, f and 2 more\)"):
        check_replaceable(out)


def test_data_with_an_array_somewhere_below_is_no_checkpoint(tmp_path: Path) -> None:
    array = '{"shape": [1], "chunks": [1], "dtype": "<f4", "compressor": null, "fill_value": null, "filters": null, '
    for folder in (tmp_path, tmp_path / "deep" / "below"):
        add(folder / "temperature" / ".zarray", array + '"order": "C", "zarr_format": 2}')
        add(folder / "temperature" / "0", "data")
        add(folder / "results.json", "{}")
        assert not is_replaceable(folder)
    (tmp_path / "results.json").unlink()
    shutil.rmtree(tmp_path / "deep")
    assert not is_replaceable(tmp_path)


def test_a_database_without_a_tree_is_no_checkpoint(fixtures: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    (out / "_METADATA").unlink()
    assert not is_replaceable(out)


@pytest.mark.parametrize("content", [b"\x81\xa4rows\x93\x01\x02\x03", b"\x80", b"\x81 some other binary"])
def test_a_file_of_data_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data.bin").write_bytes(content)
    assert not is_replaceable(tmp_path / "out")


def test_a_folder_with_one_msgpack_file_is_one(fixtures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(fixtures / "cur_msgpack_to_bytes_aire" / "ckpt" / "best_state.msgpack", out / "a.msgpack")
    assert is_replaceable(out)
    (out / "b.msgpack").write_bytes(msgpack.pack_msgpack({}))
    assert not is_replaceable(out)


def test_a_run_with_steps_is_no_output(fixtures: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fixtures / "cur_manager_composite_qs5" / "ckpt", tmp_path / "out")
    with pytest.raises(OutputError, match="is a run with steps"):
        check_replaceable(out)
    for step in ("1", "2"):
        shutil.rmtree(out / step)
    assert not is_replaceable(out)
    assert is_replaceable(out / "3")
    add(out / "last.json", json.dumps(STAMP))  # What `last prune` makes of a run.
    assert is_replaceable(out)
    shutil.copytree(out / "3", out / "4")
    assert not is_replaceable(out)


@pytest.mark.parametrize("names", [("model", "before"), ("params", "teacher")])
def test_several_checkpoints_are_not_one(fixtures: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, of in zip(names, ("cur_pytree_ocdbt", "o027_pytree_default"), strict=True):
        shutil.copytree(fixtures / of / "ckpt", tmp_path / "out" / name)
    assert locate(tmp_path / "out").items == tuple(sorted(names))
    assert not is_replaceable(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / names[1])
    assert is_replaceable(tmp_path / "out")


def test_a_file_inside_an_item_is_a_stranger(fixtures: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fixtures / "cur_manager_composite_qs5" / "ckpt" / "3", tmp_path / "out")
    add(out / "metadata" / "thesis.tex")
    with pytest.raises(OutputError, match=r"\(metadata/thesis.tex\)"):
        check_replaceable(out)


def test_what_was_copied_along_is_known_by_its_digest(fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / "cur_manager_composite_qs5" / "ckpt", tmp_path / "ckpt")
    add(path / "config.json", '{"conj_sym": true}')
    add(path / "3" / "vocabulary.bin", "abc")
    add(path / "3" / "iterator" / "state.json", "{}")
    formats.save(tmp_path / "out", source=formats.index(path), changed={}, stamp=STAMP)
    written = formats.index(tmp_path / "out").written
    assert written is not None
    assert set(written.files) >= {"config.json", "3/vocabulary.bin", "3/iterator/state.json"}
    check_replaceable(tmp_path / "out")
    add(tmp_path / "out" / "config.json", '{"conj_sym": true, "note": "mine"}')
    with pytest.raises(OutputError, match=r"\(config.json\)"):
        check_replaceable(tmp_path / "out")


def test_what_an_output_of_before_has_beside_it_is_refused(fixtures: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    add(out / "last.json", json.dumps(STAMP))
    check_replaceable(out)
    add(out / "config.json", "{}")
    with pytest.raises(OutputError) as caught:
        check_replaceable(out)
    assert "of an earlier `last`" in caught.value.hint


def test_a_copy_of_a_copy_names_its_own_files(fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "ckpt")
    add(path / "config.json", "{}")
    formats.save(tmp_path / "a", source=formats.index(path), changed={}, stamp=STAMP)
    (tmp_path / "a" / "config.json").unlink()
    index = formats.index(tmp_path / "a")
    formats.save(tmp_path / "b", source=index, changed={}, stamp=dict(index.stamp or {}))
    written = formats.index(tmp_path / "b").written
    assert written is not None and "config.json" not in written.files
    assert "written" not in (tmp_path / "b" / "_CHECKPOINT_METADATA").read_text()


def test_what_cannot_be_looked_into_is_not_replaced(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    (out / "private").mkdir()
    scan = os.scandir

    def refusing(path: str | Path) -> object:
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="private"):
        check_replaceable(out)
