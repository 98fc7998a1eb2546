"""Trees in unknown forms are read by Orbax; a lost `_METADATA` is made up for. Both say so; neither hides damage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import pytest
from checkpoint_fixtures import UNREADABLE, expected
from commands import Run, data, fails
from orbax.checkpoint import msgpack_utils
from random_layers import classifier

import last_cli as last
from last_cli import formats
from last_cli.base.errors import CheckpointError
from last_cli.formats.orbax import recovery


@pytest.fixture
def of_orbax(tmp_path: Path) -> Path:
    """A structure file with an empty tuple: an extension type of Orbax that flax does not have."""
    tree: dict[str, Any] = {"opt_state": (), "name": "x", "nothing": None}
    for (*parents, name), array in classifier().items():
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "checkpoint").write_bytes(msgpack_utils.msgpack_serialize(tree))
    assert ocp.PyTreeCheckpointer().restore(tmp_path / "ckpt")["opt_state"] == ()
    return tmp_path / "ckpt"


def files(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_orbax_reads_what_is_unknown_and_it_says_so(of_orbax: Path) -> None:
    before = files(of_orbax)
    index = formats.index(of_orbax)
    assert [w.partition(": ")[2] for w in index.warnings] == ["unknown extension type 4: all of it was read by Orbax"]
    arrays = formats.read(index)
    assert arrays.keys() == classifier().keys()
    for key, array in classifier().items():
        assert arrays[key].dtype == array.dtype and arrays[key].tobytes() == array.tobytes()
    assert index.leaves["name",].kind == "string" and index.leaves["opt_state",].kind == "empty"
    assert files(of_orbax) == before


def test_what_orbax_read_is_scored_and_not_written(of_orbax: Path, run: Run, tmp_path: Path) -> None:
    assert data(run, "score", of_orbax)["states"] == 12
    assert data(run, "inspect", of_orbax)["warnings"]
    error, hint = fails(run, "prune", of_orbax, "--ratio", "0.3", "-o", "pruned")
    assert "only Orbax reads" in error and "save it anew" in hint
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt"]


def test_orbax_is_imported_only_then(fixtures: Path, of_orbax: Path) -> None:
    code = "import sys; from last_cli import formats; formats.index(sys.argv[1]); print('orbax' in sys.modules)"
    seen = [
        subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
        for path in (fixtures / "cur_standard_params" / "ckpt", of_orbax)
    ]
    assert seen == ["False\n", "True\n"]


@pytest.mark.parametrize("name", ["cur_standard_params", "dev_cuda_standard", "cur_flax_orbax_lobs5pred"])
def test_orbax_reads_the_same_as_the_direct_reader(name: str, fixtures: Path) -> None:
    index = formats.index(fixtures / name / "ckpt")
    found = recovery.read_by_orbax(index.location.directory, recovery.UnknownLayoutError("unknown"))
    assert found.keys() == index.leaves.keys()
    for key, array in formats.read(index).items():
        assert np.asarray(found[key]).tobytes() == array.tobytes(), key


def test_a_form_that_orbax_does_not_know_either_is_one_error(fixtures: Path, tmp_path: Path, run: Run) -> None:
    path = shutil.copytree(fixtures / "cur_standard_params" / "ckpt", tmp_path / "ckpt")
    metadata = json.loads((path / "_METADATA").read_text())
    (path / "_METADATA").write_text(json.dumps({"version": 9, "leaves": metadata["tree_metadata"]}))
    error, _ = fails(run, "score", path)
    assert "_METADATA: not as Orbax writes it (KeyError('tree_metadata')); Orbax cannot read it either" in error


def test_broken_fixtures_are_no_case_for_orbax(fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("last_cli.formats.orbax.recovery.read_by_orbax", lambda *_: pytest.fail("Orbax was asked"))
    for name in UNREADABLE:
        with pytest.raises(CheckpointError):
            formats.read(formats.index(fixtures / name / "ckpt"))


def test_lost_metadata_is_made_up_for_and_it_says_so(fixtures: Path, tmp_path: Path) -> None:
    path = fixtures / "bad_missing_metadata" / "ckpt"
    index = formats.index(path)
    assert "_METADATA is missing: 43 leaves were recovered from what is stored" in index.warnings[0]
    found = {"/".join(key): array for key, array in formats.read(index).items()}
    written = expected(fixtures / "cur_standard_params")
    assert {key: array.tobytes() for key, array in found.items()} == {k: a.tobytes() for k, a in written.items()}
    last.save(last.prune(last.load(path), 0.3), tmp_path / "pruned")
    assert last.verify(last.load(tmp_path / "pruned"), last.load(path)).passed
    assert not (tmp_path / "pruned" / "_METADATA").exists()


@pytest.mark.parametrize("name", ["cur_pytree_noocdbt", "cur_pytree_zarr3", "cur_flax_orbax_lobs5pred"])
def test_it_is_made_up_for_in_every_store(name: str, fixtures: Path, tmp_path: Path) -> None:
    path = shutil.copytree(fixtures / name / "ckpt", tmp_path / "ckpt")
    whole = formats.index(path)
    (whole.location.directory / "_METADATA").unlink()
    index = formats.index(path)
    assert any("_METADATA is missing" in warning for warning in index.warnings)
    strings = {key for key, leaf in whole.leaves.items() if leaf.kind == "string"}
    assert {key for key, leaf in index.leaves.items() if leaf.kind == "string"} == strings
    before, after = formats.read(whole), formats.read(index)
    assert {key: array.tobytes() for key, array in after.items()} == {k: a.tobytes() for k, a in before.items()}
