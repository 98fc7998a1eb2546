"""`last inspect`."""

from __future__ import annotations

from commands import S4D, Run, data


def test_inspect_shows_layers_training_and_every_leaf(run: Run) -> None:
    report = data(run, "inspect", S4D)
    assert report["layers"][0]["groups"] == 64
    assert report["stamp"]["training"]["recipe"] == "s4d-listops"
    assert "trained" in run("inspect", S4D)[1]
    tree = run("inspect", S4D, "--tree")[1]
    assert "params/layers_0/seq/log_A_real" in tree
    assert "64x32" in tree
