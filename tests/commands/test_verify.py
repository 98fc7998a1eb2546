"""`last verify`."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import S4D, S5, Run, data, fails

import last_cli as last
from last_cli import formats


@pytest.mark.parametrize("sample", [S5, S4D])
def test_verify_passes_what_prune_wrote_and_fails_what_was_changed(run: Run, tmp_path: Path, sample: str) -> None:
    run("prune", sample, "--ratio", "0.3", "-o", "once")
    run("prune", "once", "--ratio", "0.3", "-o", "twice")
    for pruned, against in (("once", sample), ("twice", "once"), ("twice", sample)):
        report = data(run, "verify", pruned, "--against", against)
        assert report["passed"]
        assert len(report["checks"]) == 5
    ck = last.load("once")
    name, key = next(iter(ck.layers[0].leaves.items()))
    array = ck.read([key])[key].copy()
    array.flat[0] += 1e-3
    formats.save(tmp_path / "changed", source=ck.index, changed={key: array}, stamp=dict(ck.stamp))
    report = data(run, "verify", "changed", "--against", sample, code=1)
    assert [check["name"] for check in report["checks"] if not check["passed"]] == ["kept entries bit-equal"]
    assert name in report["checks"][1]["seen"]
    assert "no stamp of a pruning" in fails(run, "verify", sample, "--against", sample)[0]


def test_verify_knows_another_source_and_a_damaged_stamp(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.3")
    other = last.load(S5)
    key = other.layers[0].leaves["C1"]
    formats.save(tmp_path / "other", source=other.index, changed={key: other.read([key])[key] * 2}, stamp={})
    report = data(run, "verify", "pruned", "--against", "other", code=1)
    assert [check["passed"] for check in report["checks"][:2]] == [False, False]
    stamp = tmp_path / "pruned" / "last.json"
    stamp.write_text(stamp.read_text().replace('"kept": [', '"kept": [ 99,'))
    assert "the stamp does not fit" in fails(run, "verify", "pruned", "--against", S5)[0]
