"""`last diff`."""

from __future__ import annotations

from commands import DIGITS, S5, Run, data


def test_diff_tells_what_changed(run: Run) -> None:
    run("prune", S5, "--ratio", "0.3")
    assert data(run, "diff", S5, S5)["same"]
    report = data(run, "diff", S5, "pruned", code=1)
    assert sum(layer["states"][1] for layer in report["layers"]) == 89
    assert report["leaves"] == []
    assert report["config"] == {}
    _, out, err = run("diff", S5, DIGITS)
    assert "parameters" in out
    assert "activation: half_glu2 and half_glu1" in err
