"""`last list`."""

from __future__ import annotations

import pytest
from commands import Run, data


def test_criteria_and_methods_are_listed(run: Run) -> None:
    listed = {item["name"]: item["summary"] for item in data(run, "list", "criteria")["items"]}
    assert "runs the network" in listed["gn"]
    assert "--horizon" in listed["energy"]
    assert listed.keys() >= {"reconstruct", "balanced"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("criteria", "aire"), ("families", "s5"), ("tasks", "digits"), ("presets", "s5-lra-pathx")],
)
def test_every_kind_is_listed(run: Run, kind: str, name: str) -> None:
    assert name in [item["name"] for item in data(run, "list", kind)["items"]]
    assert name in run("list", kind)[1]
    assert data(run, "list", "presets")["items"][0]["summary"] == "8 layers of width 128, half_glu2"


def test_without_a_kind_all_are_listed(run: Run) -> None:
    code, out, _ = run("list")
    kinds = ("criteria", "families", "tasks", "presets", "methods")
    assert code == 0 and all(f" {kind} " in out for kind in kinds)
    listed = data(run, "list")
    assert listed["kind"] is None and {item["kind"] for item in listed["items"]} == {*kinds}
