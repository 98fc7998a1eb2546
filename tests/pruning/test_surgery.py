"""In which order heads and channels go: greedily, by what the others cannot make up for, on text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import directories

import last_cli as last
from last_cli.pruning.calibration import quantities, request
from last_cli.pruning.reconstruct import projection, surgery


def checkpoint(name: str) -> Path:
    return directories() / name / "checkpoint"


@pytest.fixture
def rows(tmp_path: Path) -> str:
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).integers(0, 60, (4, 24)))
    return str(tmp_path / "rows.npz")


def lost(weight: np.ndarray, gram: np.ndarray, gone: list[int]) -> float:
    """Of sum |W y - V y|^2, V best without these columns."""
    left = np.setdiff1d(np.arange(len(gram)), gone)
    best = np.zeros_like(weight)
    best[:, left] = np.linalg.solve(gram[np.ix_(left, left)], gram[left] @ weight.T).T
    change = weight - best
    return float(np.einsum("dm,mn,dn->", change, gram, change))


def test_the_unit_that_goes_next_is_the_one_that_the_others_make_up_for_best() -> None:
    rng = np.random.default_rng(0)
    y, weight = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8)), rng.normal(size=(3, 8))
    gram, columns = y.T @ y, np.array([[0, 4], [1, 5], [2, 6], [3, 7]])
    order = surgery.order_of(weight, gram, columns, np.ones(4, bool)).tolist()
    for step in range(1, 4):
        before = [int(c) for unit in order[: step - 1] for c in columns[unit]]
        costs = {u: lost(weight, gram, [*before, *columns[u].tolist()]) for u in range(4) if u not in order[: step - 1]}
        assert costs[order[step - 1]] <= 1.02 * min(costs.values())  # but for the ridge
    assert sorted(order) == [0, 1, 2, 3]
    assert surgery.order_of(weight, gram, columns, np.arange(4) != order[-1]).tolist()[0] == order[-1]


def test_what_the_loss_minds_is_dealt_out_in_that_order() -> None:
    found = surgery.dealt(np.array([[3.0, 1.0], [2.0, 4.0]]), np.array([2, 0, 3, 1]))
    np.testing.assert_array_equal(found, [[2.0, 4.0], [1.0, 3.0]])


@pytest.mark.parametrize(
    ("name", "target"), [("hf_base", "heads"), ("hf_groups", "channels"), ("mil_base", "channels")]
)
def test_every_unit_owns_as_many_columns_and_all_of_them_are_owned(name: str, target: str) -> None:
    layer = last.load(checkpoint(name)).layers[0]
    units = layer.units[target]
    (segment,) = units.segments["out_proj.weight"]
    width = segment.block * segment.copies * units.groups * units.count
    found = surgery.columns_of(units, "out_proj.weight", width)
    assert found.shape[0] == units.groups * units.count
    np.testing.assert_array_equal(np.sort(found.ravel()), np.arange(width))


@pytest.mark.parametrize(("target", "scope"), [("heads", "global"), ("channels", "layer")])
def test_reconstruct_eliminates_units_of_a_language_model_and_refits(
    target: str, scope: Any, rows: str, tmp_path: Path
) -> None:
    source = checkpoint("hf_base")
    asked: dict[str, Any] = {"method": "reconstruct", "target": target, "scope": scope, "calibration_file": rows}
    small = last.prune(source, 0.5, **asked)
    step = small.stamp["pruned"][-1]
    assert (step["criterion"], step["method"], step["changes"]) == ("reconstruct", "reconstruct", [])
    assert step["refitted"] and set(step["refitted"]) <= {"D", "out_proj.weight"}
    assert step["calibration"]["digest"] and small.report is not None
    assert small.report.states.after < small.report.states.before
    out = last.save(small, tmp_path / "small")
    assert all(check.passed for check in last.verify(out, source).checks)
    ck, text = last.load(source), request.Calibration(calibration_file=rows).read(last.load(source), request.Draw())
    assert text is not None
    ways: tuple[dict[str, Any], ...] = ({"criterion": "magnitude", "target": target, "scope": scope}, asked)
    before, after = (quantities.changes(ck, last.prune(ck, 0.5, masked=True, **way), text)[:, 0].sum() for way in ways)
    assert after < 0.9 * before


def test_states_own_no_columns_and_are_ranked_by_their_gains_on_text(rows: str) -> None:
    asked: dict[str, Any] = {"calibration_file": rows, "scope": "layer"}
    small = last.prune(checkpoint("hf_base"), 0.5, method="reconstruct", **asked)
    plain = last.prune(checkpoint("hf_base"), 0.5, "hinf", **asked)
    assert small.stamp["pruned"][-1]["layers"] == plain.stamp["pruned"][-1]["layers"]


def test_tensors_are_read_block_by_block(rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    own = projection.Tensors.__getitem__

    def seen(self: projection.Tensors, name: str) -> np.ndarray:
        read.append(name)
        return own(self, name)

    monkeypatch.setattr(projection.Tensors, "__getitem__", seen)
    last.prune(checkpoint("hf_base"), 0.5, "magnitude", target="heads", refit=True, calibration_file=rows)
    blocks = [name.split(".")[2] for name in read if ".layers." in name]
    assert blocks == sorted(blocks)
    assert len(blocks) == 2 * len({name for name in read if ".layers." in name})
