"""The same command twice writes the same bytes, and however much goes, every group keeps what it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import directories

import last_cli as last

SOURCE = "hf_groups"
WAYS: dict[str, dict[str, Any]] = {
    "last": {"ratio": 0.5},
    "random": {"ratio": 0.5, "target": "channels"},
    "merge": {"ratio": 0.5},
    "flap": {"ratio": 0.5, "target": "channels"},
    "fisher": {"ratio": 0.5, "target": "heads", "refit": True},
    "loss": {"ratio": 0.4},
    "sparsegpt": {"pattern": "2:4"},
}
MEASURED = ("flap", "fisher", "loss", "sparsegpt")


def source() -> Path:
    return directories() / SOURCE / "checkpoint"


@pytest.mark.parametrize("criterion", WAYS)
def test_the_same_command_twice_writes_the_same_bytes(criterion: str, tmp_path: Path) -> None:
    options = dict(WAYS[criterion])
    if criterion in MEASURED:
        np.savez(tmp_path / "tokens.npz", x=np.random.default_rng(0).integers(0, 60, (4, 24)))
        options["calibration_file"] = tmp_path / "tokens.npz"
    reports, files = [], []
    for place in ("one", "other"):
        small = last.prune(source(), criterion=criterion, **options)
        out = last.save(small, tmp_path / place)
        assert small.report is not None
        reports.append(small.report.as_json())
        files.append({file.name: file.read_bytes() for file in sorted(out.iterdir())})
    assert reports[0] == reports[1] and files[0] == files[1]


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize(("target", "least"), [("states", 3), ("heads", 2), ("channels", 3)])
def test_every_group_keeps_so_many_whatever_the_ratio(target: str, least: int, scope: Any) -> None:
    found = last.score(source(), "random", target=target, ratio=0.99, min_states=least, scope=scope)
    assert all(mask is not None and (mask.sum(axis=1) == least).all() for mask in (y.keep for y in found.layers))
    alone = last.score(source(), "random", target=target, ratio=0.99, scope=scope)
    assert all(mask is not None and (mask.sum(axis=1) == 1).all() for mask in (y.keep for y in alone.layers))


@pytest.mark.parametrize(("least", "kept"), [(1, 1), (2, 2), (3, 4)])
def test_so_many_groups_stay_rounded_up_to_a_divisor(least: int, kept: int) -> None:
    report = last.prune(source(), 0.99, "merge", min_states=least).report
    assert report is not None and [layer.after for layer in report.layers] == [kept] * 3
