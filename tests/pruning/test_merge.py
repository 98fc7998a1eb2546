"""Merging of groups: what the library computes with means of B and C, in every layout, written and verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import directories, model
from prunings import run

import last_cli as last
from last_cli.base.errors import CheckpointError, UsageError

MERGED = Path(__file__).parents[1] / "data" / "mamba2" / "merged.npz"
LAYOUTS = {
    "falcon_h1_norm": "with trust_remote_code=True (modeling_last.py)",
    "phi_mva": None,
    "llamba_base": None,
    "ssm_groups_eq_heads": "with code that reads norm_groups in its configuration",
}


def source(name: str) -> Path:
    return directories() / name / "checkpoint"


@pytest.mark.parametrize("masked", [False, True])
def test_merged_groups_give_the_recorded_logits(tmp_path: Path, masked: bool) -> None:
    case = model("hf_groups")
    with np.load(MERGED) as recorded:
        wanted, other = recorded["hf_groups/logits"], recorded["hf_groups/stock_logits"]
    small = last.prune(source("hf_groups"), 0.5, "merge", masked=masked)
    out = last.load(last.save(small, tmp_path / "small"))
    found, scale = run(out, case.recorded["tokens"]), case.recorded["scale"]
    assert float(np.abs(found - wanted).max()) <= 1e-5 * scale < float(np.abs(found - other).max())
    report = small.report
    assert report is not None and report.states == (12, 6)
    said = report.as_json()
    assert (said["method"], said["target"], said["loads"].startswith("in the stock class")) == (
        "merge",
        "groups",
        masked,
    )
    assert (report.parameters[0] == report.parameters[1]) == masked
    checks = {check.name: check.passed for check in last.verify(out, source("hf_groups")).checks}
    assert all(checks.values()) and "kept entries bit-equal, means of merged groups as computed anew" in checks


@pytest.mark.parametrize("name", LAYOUTS)
def test_other_layouts_say_how_many_groups_there_are(tmp_path: Path, name: str) -> None:
    small = last.prune(source(name), 0.5, "merge")
    assert small.report is not None and small.report.loads == LAYOUTS[name]
    out = last.load(last.save(small, tmp_path / "small"))
    assert last.verify(out, source(name)).passed
    counts = [
        (old.sizes.groups, new.sizes.groups)
        for old, new in zip(last.load(source(name)).layers, out.layers, strict=True)
    ]
    assert all(old == 2 * new for old, new in counts)
    tokens = model(name).recorded["tokens"]
    masked = run(last.prune(source(name), 0.5, "merge", masked=True), tokens)
    assert float(np.abs(run(out, tokens) - masked).max()) <= 1e-6 * float(np.abs(masked).max())


def test_what_is_left_is_pruned_further(tmp_path: Path) -> None:
    one = last.load(last.save(last.prune(source("hf_groups"), 0.5, "merge"), tmp_path / "one"))
    tokens = model("hf_groups").recorded["tokens"]
    for target, criterion, left in (
        ("states", "last", (2, 4)),
        ("heads", "random", (4, 1)),
        ("channels", "random", (8, 4)),
    ):
        two = last.load(last.save(last.prune(one, 0.5, criterion, target=target), tmp_path / target))
        assert {(u.groups, u.count) for u in (layer.units[target] for layer in two.layers)} == {left}
        assert last.verify(two, one).passed
        said = two.index.config["file:config.json"]
        assert said["last_layers"][0]["groups"] == 2 and said["n_groups"] == 4
        masked = run(last.prune(one, 0.5, criterion, target=target, masked=True), tokens)
        assert float(np.abs(run(two, tokens) - masked).max()) <= 1e-5 * float(np.abs(masked).max())
    again = last.load(last.save(last.prune(one, 0.5, "merge"), tmp_path / "again"))
    assert last.verify(again, one).passed
    assert last.verify(again, source("hf_groups")).passed


def test_what_stays_is_a_divisor_and_at_least_min_states() -> None:
    opened = last.load(source("hf_groups"))
    kept = {ratio: last.prune(opened, ratio, "merge").layers[0].sizes.groups for ratio in (0.0, 0.25, 0.5, 0.6, 0.99)}
    assert kept == {0.0: 4, 0.25: 4, 0.5: 2, 0.6: 1, 0.99: 1}
    assert last.prune(opened, 0.99, "merge", min_states=2).layers[0].sizes.groups == 2


def test_a_merged_entry_that_was_changed_is_seen(tmp_path: Path) -> None:
    out = last.save(last.prune(source("hf_groups"), 0.5, "merge"), tmp_path / "small")
    config = json.loads((out / "config.json").read_text())
    config["last_layers"][0]["groups"] = 4
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"last_layers has groups \[4, 2, 2\], expected one number for all"):
        last.verify(out, source("hf_groups"))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("hf_base", {"criterion": "merge"}, "all heads share one B and C"),
        ("mil_base", {"criterion": "merge"}, "the layers have states and heads and channels"),
        (
            "hf_groups",
            {"criterion": "random", "target": "groups"},
            "groups are merged, and random only leaves units out",
        ),
        ("hf_groups", {"criterion": "merge", "target": "heads"}, "removes no heads"),
        ("hf_groups", {"criterion": "merge", "multiple_of": 2}, "of groups a divisor of their number stays"),
        ("hf_groups", {"criterion": "merge", "calibration_file": "corpus.txt"}, "the method merge takes none"),
        (
            "hf_groups",
            {"criterion": "merge", "stock": True},
            "the gate's norm keeps 4 groups, and mamba2 has one number",
        ),
        ("ssm_groups_eq_heads", {"criterion": "merge", "stock": True}, "as many groups in the gate's norm"),
    ],
)
def test_what_cannot_be_merged_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        last.prune(source(name), 0.5, **options)
