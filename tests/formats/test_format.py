"""A format is one file and one line: a toy one, a directory of one .npz, is read, pruned and mirrored by the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, data, fails
from random_layers import classifier
from stamps import said

from last_cli import formats
from last_cli.base.errors import CheckpointError, OutputError
from last_cli.formats import Index, Key, Leaf, Location
from last_cli.formats.digests import array_digests
from last_cli.formats.format import FORMATS, Changes, Format, format_named
from last_cli.formats.json_file import read_aside
from last_cli.formats.stamp import read_stamp
from last_cli.formats.types import Beside, Tree

WEIGHTS, CONFIG = "weights.npz", "config.json"


@dataclass
class Archive:
    """The arrays of one file, and the names of those that were read."""

    file: Path
    seen: list[str] = field(default_factory=list)

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        names = list(names)
        self.seen += names
        with np.load(self.file) as stored:
            return {name: stored[name] for name in names}


def locate(path: Path, step: int | None, item: str | None) -> Location | None:
    here = path.absolute()
    return Location(path, here, here, "toy", "npz") if (here / WEIGHTS).is_file() else None


def read_tree(location: Location) -> Tree:
    file = location.directory / WEIGHTS
    with np.load(file) as stored:
        names = {tuple(name.split(".")): name for name in stored.files}
        leaves = {key: Leaf(key, stored[name].shape, stored[name].dtype.name, "array") for key, name in names.items()}
    return Tree(leaves, names=names, store=Archive(file))


def read_beside(location: Location) -> Beside:
    config, warnings = read_aside(location.root / CONFIG)
    stamp, written = read_stamp([location.root])
    return Beside({f"file:{CONFIG}": config} if config else {}, stamp, warnings, written)


def mirror(source: Index, stage: Path, changes: Changes) -> dict[str, dict[Key, str]]:
    read = formats.read(source, [key for key in source.leaves if key not in changes.leaves])
    arrays = {key: changes.leaves.get(key, read.get(key)) for key in source.leaves}
    write(stage, arrays, changes.stamp)
    if (source.location.root / CONFIG).is_file():
        shutil.copy2(source.location.root / CONFIG, stage / CONFIG)
    return {"": array_digests(arrays)}


def write(stage: Path, arrays: Mapping[Key, Any], stamp: dict[str, Any]) -> None:
    np.savez(stage / WEIGHTS, **{".".join(key): array for key, array in arrays.items()})


TOY = Format(
    title="a toy",
    signs=WEIGHTS,
    is_below=lambda directory: (directory / WEIGHTS).is_file(),
    locate=locate,
    read_tree=read_tree,
    read_beside=read_beside,
    parts=lambda location: {WEIGHTS},
    is_data=lambda directory, file: file.name == WEIGHTS,
    mirror=mirror,
    write=write,
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the toy format, which is known while the test runs."""
    monkeypatch.setitem(FORMATS, "toy", f"{__name__}:TOY")
    (tmp_path / "ckpt").mkdir()
    write(tmp_path / "ckpt", classifier(), {})
    (tmp_path / "ckpt" / CONFIG).write_text(json.dumps({"discretization": "bilinear"}))
    return tmp_path / "ckpt"


def test_it_is_indexed_and_read_lazily(toy: Path) -> None:
    index = formats.index(toy)
    assert (index.location.layout, index.location.step, index.location.items) == ("npz", None, ())
    assert index.config == {"file:config.json": {"discretization": "bilinear"}}
    assert (index.stamp, index.warnings) == (None, ())
    arrays = classifier()
    assert {key: leaf.shape for key, leaf in index.leaves.items()} == {key: a.shape for key, a in arrays.items()}
    archive, key = index.tree.store, ("params", "decoder", "bias")
    assert isinstance(archive, Archive) and not archive.seen
    assert np.array_equal(formats.read(index, [key])[key], arrays[key])
    assert archive.seen == ["params.decoder.bias"]


def test_a_copy_mirrors_it_whole_or_not_at_all(toy: Path, tmp_path: Path) -> None:
    source, key = formats.index(toy), ("params", "decoder", "bias")
    with pytest.raises(ZeroDivisionError):
        formats.save(tmp_path / "out", source=source, changed=Failing(), stamp={})
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt"]
    formats.save(tmp_path / "out", source=source, changed={key: np.ones(2)}, stamp={"first": 1})
    out = formats.index(tmp_path / "out")
    assert (out.location.layout, said(out), out.config) == ("npz", {"first": 1}, source.config)
    assert out.leaves.keys() == source.leaves.keys() and out.leaves[key].shape == (2,)


def test_force_replaces_it_and_nothing_else(toy: Path, tmp_path: Path) -> None:
    source, out = formats.index(toy), tmp_path / "out"
    formats.save(out, source=source, changed={}, stamp={"first": 1})
    with pytest.raises(OutputError, match="exists already"):
        formats.save(out, source=source, changed={}, stamp={"second": 2})
    formats.save(out, source=source, changed={}, stamp={"second": 2}, force=True)
    assert said(formats.index(out)) == {"second": 2}
    (out / "best.msgpack").write_text("")  # Which Orbax's format would have replaced.
    with pytest.raises(OutputError, match=r"holds more than a checkpoint \(best.msgpack\)"):
        formats.check_output(out, source=source, force=True)


def test_it_has_no_steps_and_no_items(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is one checkpoint, not a run of steps"):
        formats.index(toy, step=3)
    with pytest.raises(CheckpointError, match="has no items, so no item 'model'"):
        formats.index(toy, item="model")


def test_errors_speak_of_every_format(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"not a Hugging Face .*; nor an Orbax or Flax .* entries; nor a toy: no weights.npz"
    ) as caught:
        formats.index(tmp_path)
    assert caught.value.hint == f"there is a checkpoint below it: {toy}"


def test_the_commands_know_it(toy: Path, run: Run) -> None:
    report = data(run, "prune", toy, "--ratio", "0.5", "-o", "small")
    assert (report["states"]["after"], report["checkpoint"]["layout"]) == (6, "npz")
    assert data(run, "verify", "small", "--against", toy)["passed"]
    assert data(run, "inspect", "small")["config"]["discretization"] == "bilinear"
    assert sorted(path.name for path in Path("small").iterdir()) == [CONFIG, "last.json", WEIGHTS]
    error, _ = fails(run, "score", toy, "--step", "4")
    assert "not a run of steps" in error


@pytest.mark.parametrize("name", FORMATS)
def test_every_entry_of_the_table_is_a_format(name: str) -> None:
    assert isinstance(format_named(name), Format)


class Failing(dict):
    """Changed leaves that cannot be had."""

    def get(self, *_: object) -> Any:
        return 1 / 0
