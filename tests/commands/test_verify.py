"""`last verify`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import DIGITS, S4D, S5, Run, data, fails

import last_cli as last
from last_cli import formats
from last_cli.formats.stamp import renewed

OWN = ["stamp as written", "arrays as written", "other files as written"]


@pytest.mark.parametrize("sample", [S5, S4D])
def test_verify_passes_what_prune_wrote_and_fails_what_was_changed(run: Run, tmp_path: Path, sample: str) -> None:
    run("prune", sample, "--ratio", "0.3", "-o", "once")
    run("prune", "once", "--ratio", "0.3", "-o", "twice")
    for pruned, against in (("once", sample), ("twice", "once"), ("twice", sample)):
        report = data(run, "verify", pruned, "--against", against)
        assert report["passed"]
        assert len(report["checks"]) == 8
    ck = last.load("once")
    name, key = next(iter(ck.layers[0].leaves.items()))
    array = ck.read([key])[key].copy()
    array.flat[0] += 1e-3
    formats.save(tmp_path / "changed", source=ck.index, changed={key: array}, stamp=dict(ck.stamp))
    report = data(run, "verify", "changed", "--against", sample, code=1)
    assert [check["name"] for check in report["checks"] if not check["passed"]] == ["kept entries bit-equal"]
    assert name in report["checks"][1]["seen"]
    assert "no stamp of a pruning" in fails(run, "verify", sample, "--against", sample)[0]


@pytest.mark.parametrize("sample", [S5, S4D, DIGITS])
def test_the_samples_are_as_they_were_written(run: Run, sample: str) -> None:
    """After a change on purpose: python sample_checkpoints/stamp.py SAMPLE."""
    report = data(run, "verify", sample)
    assert (report["passed"], report["against"], report["warnings"]) == (True, None, [])
    assert [check["name"] for check in report["checks"]] == OWN


def test_verify_fails_a_changed_configuration_array_and_file(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.3")
    stamp = json.loads((tmp_path / "pruned" / "last.json").read_text())
    stamp["model"]["activation"] = "gelu"
    written = stamp["written"]
    written["arrays"][""]["params/decoder/bias"] = written["files"]["_METADATA"] = "sha256:0"
    (tmp_path / "pruned" / "last.json").write_text(json.dumps(stamp))
    for against in ([], ["--against", S5]):
        checks = data(run, "verify", "pruned", *against, code=1)["checks"]
        assert [check["name"] for check in checks if not check["passed"]] == OWN
    assert [check["seen"] for check in checks[-3:]] == [
        "last.json was edited or damaged",
        "1 of 56 leaves differ: params/decoder/bias changed",
        "1 of 3 files differ: _METADATA changed",
    ]


def test_verify_says_what_it_cannot_check_without_digests(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.3")
    stamp = json.loads((tmp_path / "pruned" / "last.json").read_text())
    del stamp["written"]
    (tmp_path / "pruned" / "last.json").write_text(json.dumps(stamp))
    report = data(run, "verify", "pruned", "--against", S5)
    assert (report["passed"], len(report["checks"])) == (True, 5)
    assert report["warnings"][0].startswith("its stamp holds no digests")
    error, hint = fails(run, "verify", "pruned")
    assert "nothing to check it against: its stamp holds no digests" in error and "--against CKPT" in hint


def test_verify_does_not_pass_a_tree_that_was_written_later(run: Run, tmp_path: Path, fixtures: Path) -> None:
    run("prune", fixtures / "cur_manager_composite_qs5" / "ckpt", "--ratio", "0.3")
    shutil.copytree(tmp_path / "pruned" / "3", tmp_path / "pruned" / "4")
    code, _, said = run("verify", "pruned", "-q")
    assert code == 2 and "nothing to check it against" in said and "written after" in said and "--against CKPT" in said


def test_verify_does_not_pass_a_stamp_without_arrays(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.3")
    stamp = json.loads((tmp_path / "pruned" / "last.json").read_text())
    stamp["written"]["arrays"] = {}
    (tmp_path / "pruned" / "last.json").write_text(json.dumps(stamp))
    assert "nothing to check it against" in fails(run, "verify", "pruned")[0]


def test_verify_says_what_was_added(run: Run, tmp_path: Path, fixtures: Path) -> None:
    run("prune", fixtures / "cur_manager_composite_qs5" / "ckpt", "--ratio", "0.3")
    assert data(run, "verify", "pruned")["warnings"] == []
    shutil.copytree(tmp_path / "pruned" / "3" / "state", tmp_path / "pruned" / "3" / "other")
    (tmp_path / "pruned" / "notes.txt").touch()
    report = data(run, "verify", "pruned")
    assert (
        report["passed"] and "3/other/_METADATA" in report["warnings"][0] and "did not write" in report["warnings"][0]
    )


@pytest.mark.parametrize(
    "lie",
    [
        {"gain_bound": {}, "method": "balanced"},
        {"target": "nothing"},
        {"layers": []},
        {"method": ["balanced"]},
        {"layers": [{"name": "encoder/layers_0/seq", "kept": [[10**30]]}]},
        {"layers": [{"name": "encoder/layers_0/seq", "kept": [{}]}]},
    ],
)
def test_a_stamp_that_lies_is_an_error_in_words(run: Run, tmp_path: Path, lie: dict[str, Any]) -> None:
    run("prune", S5, "--ratio", "0.3")
    stamp = json.loads((tmp_path / "pruned" / "last.json").read_text())
    stamp["pruned"][0] |= lie
    (tmp_path / "pruned" / "last.json").write_text(json.dumps(renewed(stamp)))
    error, _ = fails(run, "verify", "pruned", "--against", S5)
    assert "the stamp" in error or "last.json: not as `last` writes it" in error


def test_verify_knows_another_source_and_a_damaged_stamp(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.3")
    other = last.load(S5)
    key = other.layers[0].leaves["C1"]
    formats.save(tmp_path / "other", source=other.index, changed={key: other.read([key])[key] * 2}, stamp={})
    report = data(run, "verify", "pruned", "--against", "other", code=1)
    assert [check["passed"] for check in report["checks"][:2]] == [False, False]
    stamp = tmp_path / "pruned" / "last.json"
    stamp.write_text(stamp.read_text().replace('"kept": [', '"kept": [ 99,'))
    line = fails(run, "verify", "pruned", "--against", S5)[0]
    assert "the stamp does not fit" in line and "Error" not in line


def test_names_in_a_stamp_that_no_file_has(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.3", "-o", "out")
    file = tmp_path / "out" / "last.json"
    stamp = json.loads(file.read_text())
    stamp["written"]["files"]["x" * 300], stamp["written"]["arrays"]["y" * 300] = "sha256:0", {"a": "sha256:0"}
    file.write_text(json.dumps(stamp))
    code, out, _ = run("verify", "out")
    assert code == 1 and "cannot be read" in out
