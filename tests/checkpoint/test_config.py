"""`last config`: every value and its origin, and what is said written down beside the arrays."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import S5, Run, data, fails
from flax.serialization import to_bytes
from random_layers import classifier, write
from random_networks import nested, two_towers

import last_cli as last
from last_cli import formats


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return write(tmp_path / "ckpt", classifier())


def files(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "last.json"}


def test_it_prints_every_value_and_its_origin_and_writes_nothing(bare: Path, run: Run) -> None:
    (bare / "config.yaml").write_text("mode: last\n")
    before = files(bare), (bare / "last.json").read_bytes()
    report = data(run, "config", bare)
    assert report["schema"] == "last.config/1" and report["written"] is None
    assert report["config"].keys() == report["sources"].keys() == last.load(bare).origins.keys()
    assert (report["config"]["mode"], report["sources"]["mode"]) == ("last", "config.yaml")
    assert report["sources"]["activation"] == "assumed"
    assert report["guesses"]["activation"] == "the tree allows half_glu1 or half_glu2"
    _, out, err = run("config", bare)
    assert "config.yaml" in out and "--activation" in err
    assert (files(bare), (bare / "last.json").read_bytes()) == before


def test_what_is_said_is_written_beside_the_arrays_and_read_from_there(bare: Path, run: Run) -> None:
    before = files(bare)
    given = ["--activation", "half_glu2", "--postnorm", "--mode", "last", "--task", "listops"]
    report = data(run, "config", bare, *given, "--task-settings", "max_length=64,source=own")
    assert report["written"] == str(bare / "last.json") and files(bare) == before
    found = last.load(bare)
    assert (found.config.activation, found.config.prenorm, found.config.mode) == ("half_glu2", False, "last")
    assert {name for name, origin in found.origins.items() if origin == "checkpoint"} == {
        "activation",
        "prenorm",
        "mode",
    }
    assert found.task == {"name": "listops", "max_length": 64, "source": "own"}
    last.config(bare, padded=True)
    assert last.load(bare).config.activation == "half_glu2" and last.load(bare).config.padded
    assert [path for path in bare.parent.iterdir() if path.name.startswith(".")] == []


def test_a_file_has_it_beside_itself(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.msgpack").write_bytes(to_bytes(nested(classifier())))
    report = last.config(tmp_path / "a.msgpack", preset="s5-lra-text", activation="half_glu1")
    assert report.written == str(tmp_path / "a.msgpack.last.json")
    found = last.load(tmp_path / "a.msgpack")
    assert (found.config.activation, found.config.padded) == ("half_glu1", True)
    assert found.task == {"name": "text"} and found.stamp["schema"] == "last.stamp/1"
    assert last.load(tmp_path / "b.msgpack").origins["padded"] == "assumed"


def test_the_chain_of_prunings_stays_and_what_was_guessed_is_said_now(bare: Path, tmp_path: Path) -> None:
    last.save(last.prune(bare, 0.3), tmp_path / "small")
    before = json.loads((tmp_path / "small" / "last.json").read_text())
    last.config(tmp_path / "small", mode="last")
    after = json.loads((tmp_path / "small" / "last.json").read_text())
    assert after["pruned"] == before["pruned"] and after.keys() >= before.keys()
    assert after["assumed"] == [name for name in before["assumed"] if name != "mode"]
    assert after["model"] == before["model"] | {"mode": "last"}
    assert last.load(tmp_path / "small").origins["mode"] == "checkpoint"


def test_the_digest_of_a_written_stamp_is_renewed(bare: Path) -> None:
    written = {"arrays": {"elsewhere": {"x": "sha256:0"}}, "files": {}, "stamp": "sha256:1"}
    (bare / "last.json").write_text(json.dumps({"written": written, "pruned": []}))
    last.config(bare, mode="pool")
    stamp = json.loads((bare / "last.json").read_text())
    assert stamp["written"]["arrays"] == written["arrays"]
    rest = {name: value for name, value in stamp.items() if name != "written"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert stamp["written"]["stamp"] == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activation", "full_glu"], "activation is 'full_glu' but the tree has the products"),
        (["--preset", "s5-lra-listop"], "unknown preset"),
        (["--task", "listop"], "unknown task"),
        (["--task-settings", "length=8"], "settings of a task are given, but no task"),
        (["--task", "listops", "--task-settings", "length"], "--task-settings 'length': expected NAME=VALUE"),
        (["--config-from", "nowhere"], "nowhere: no such file"),
    ],
)
def test_what_the_tree_does_not_allow_is_refused_and_nothing_written(
    bare: Path, run: Run, arguments: list[str], message: str
) -> None:
    before = (bare / "last.json").read_bytes()
    assert message in fails(run, "config", bare, *arguments)[0]
    assert (bare / "last.json").read_bytes() == before


def test_two_documents_have_their_mean(tmp_path: Path) -> None:
    pairs = write(tmp_path / "pairs", two_towers())
    with pytest.raises(last.CheckpointError, match="mode is last, but the tree has pool"):
        last.config(pairs, mode="last")
    assert last.config(pairs, mode="pool").written


def test_a_damaged_stamp_is_not_replaced(bare: Path) -> None:
    (bare / "last.json").write_text('{"model": ')
    with pytest.raises(last.CheckpointError, match=r"last.json: not valid JSON"):
        last.config(bare, mode="pool")
    assert (bare / "last.json").read_text() == '{"model": '


def test_an_interrupted_write_leaves_the_old_one(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last.config(bare, mode="last")
    before = {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()}

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("last_cli.formats.write.renewed", killed)
    with pytest.raises(KeyboardInterrupt):
        last.config(bare, mode="pool")
    assert {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()} == before
    assert formats.index(bare).stamp


def test_what_was_edited_is_read_by_no_command_until_it_is_written_anew(tmp_path: Path, run: Run) -> None:
    shutil.copytree(S5, tmp_path / "ckpt")
    file = tmp_path / "ckpt" / "last.json"
    stamp = json.loads(file.read_text())
    file.write_text(json.dumps(stamp | {"model": stamp["model"] | {"discretization": "bilinear"}}))
    for command in ("score", "prune --ratio 0.3 -n", "eval --task listops", "diff ckpt"):
        name, *rest = command.split()
        lines = fails(run, name, "ckpt", *rest)
        assert "last.json: is not as `last` wrote it" in lines[0] and "`last config`" in lines[1]
    assert run("inspect", "ckpt")[0] == 0
    assert run("config", "ckpt", "--discretization", "zoh")[0] == 0
    assert run("score", "ckpt", "-q")[0] == 0
