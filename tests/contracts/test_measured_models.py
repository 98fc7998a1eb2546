"""Initial parameters of the models that no setting was chosen on, and the tables that are made of them."""

from __future__ import annotations

from pathlib import Path

import budgets
import measured
import numpy as np
import pytest
import safe_ratio
import series
from init import Layer, s4d_parameters, s5_parameters


@pytest.mark.parametrize(("directions", "pairs"), [(1, True), (2, True), (1, False), (2, False)])
def test_layers_have_the_form_that_is_asked_for(directions: int, pairs: bool) -> None:
    found = s5_parameters(np.random.default_rng(0), Layer(3, 8, 2, (1e-2, 1e-1), directions, pairs))
    readouts = {name for name in found if name.startswith("C")}
    assert readouts == ({"C"} if directions == 1 else {"C1", "C2"})
    assert all(found[name].shape == (3, 8, 2) for name in readouts)
    assert {len(found[name]) for name in ("Lambda_re", "Lambda_im", "B", "log_step")} == {8}
    assert ((found["Lambda_im"] > 0).mean() == 0.5) != pairs
    other = s4d_parameters(np.random.default_rng(0), Layer(3, 8, 1, (1e-2, 1e-1), directions))
    assert other["C"].shape == (directions, 3, 8, 2)


def test_a_printed_table_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "s5-digits"
    folder.mkdir()
    before = np.array([True, True, True, False])
    for file, right in (
        ("unpruned-0-0.npz", before),
        ("last-0.6-0.npz", ~before),
        ("reconstruct-calibrated-0.6-0.npz", before),
        ("reconstruct-calibrated-0.6-1.npz", before & (np.arange(4) > 0)),
    ):
        digest = measured.model("s5-digits", tmp_path, tmp_path).checkpoint.digest
        np.savez(folder / file, checkpoint=digest, labels=[""], right=right)
    one, methods = measured.model("s5-digits", tmp_path, tmp_path), list(measured.METHODS)
    print("| sample | unpruned | ratio | " + " | ".join(methods) + " |")
    rows = safe_ratio._rows(one, methods, [0.6, 0.8], safe_ratio.Seeds(2, 1))
    assert rows.keys() == {(0.6, "last", ""), (0.6, "reconstruct, calibrated", "")}
    drop = rows[0.6, "reconstruct, calibrated", ""]
    assert (drop.points, drop.spread) == (-12.5, (-25.0, 0.0))
    (tmp_path / "table.md").write_text(said := capsys.readouterr().out)
    assert "-12.5 ± 10.8 (-25.0 to +0.0)" in said
    read = safe_ratio._read(tmp_path / "table.md")["s5-digits"]
    assert {key: drop.points for key, drop in read.items()} == {key: drop.points for key, drop in rows.items()}
    left = list(safe_ratio._cells([one], methods, [0.6], safe_ratio.Seeds(2, 1)))
    assert [cell.method for _, cell in left] == ["aire", "gn", *["reconstruct, data-free"] * 2]


def test_a_safe_ratio_needs_all_smaller_ones() -> None:
    drops = {(ratio, "last", ""): safe_ratio.Drop(points, 0.1) for ratio, points in ((0.1, -0.5), (0.3, -0.6))}
    assert safe_ratio._safe(drops, [0.1, 0.3], "last") == 0.1
    assert safe_ratio._safe(drops, [0.1, 0.2, 0.3], "last") is None


def test_a_tuned_safe_ratio_needs_smaller_ones_where_the_least_one_lost() -> None:
    def safe(drops: dict[float, float]) -> float | None:
        found = {(ratio, "last, tuned", ""): safe_ratio.Drop(points, 0.1) for ratio, points in drops.items()}
        return safe_ratio._safe(found, [0.4, 0.5, 0.6, 0.7], "last, tuned")

    assert safe({0.6: 0.0, 0.7: -0.4}) == 0.7
    assert safe({0.6: 0.0, 0.7: -0.6}) == 0.6
    assert safe({0.6: -0.6, 0.7: 0.0}) is None
    assert safe({0.5: -0.2, 0.6: -0.6, 0.7: 0.0}) == 0.5
    assert safe({0.6: 0.0}) is None


@pytest.mark.parametrize(
    ("right", "asked"),
    [
        ({}, [0.8, 0.6, 0.33, 0.7, 0.9]),
        ({0.8: 3}, [0.6, 0.33, 0.7]),
        ({0.8: 3, 0.6: 3}, [0.33, 0.5]),
        ({0.8: 3, 0.6: 3, 0.5: 3}, [0.33, 0.4]),
        ({0.8: 4, 0.7: 3}, [0.6, 0.33]),
    ],
)
def test_tuned_ratios_are_measured_where_the_safe_one_hangs_on_them(
    right: dict[float, int], asked: list[float], tmp_path: Path
) -> None:
    one = measured.model("s5-digits", tmp_path, tmp_path)
    for cell, count in [
        (measured.Cell("unpruned"), 4),
        *((measured.Cell("last, tuned", r), n) for r, n in right.items()),
    ]:
        (tmp_path / "s5-digits").mkdir(exist_ok=True)
        path = tmp_path / "s5-digits" / cell.file
        np.savez(path, checkpoint=one.checkpoint.digest, labels=[""], right=np.arange(4) < count)
    ratios = [0.33, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    cells = safe_ratio._cells([one], ["last, tuned"], ratios, safe_ratio.Seeds(3, 1))
    assert [cell.ratio for _, cell in cells] == asked


def test_what_was_measured_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s5-digits").mkdir()
    np.savez(tmp_path / "s5-digits" / "last-0.6-0.npz", checkpoint="other", labels=[""], right=np.ones(2, bool))
    with pytest.raises(SystemExit, match="another checkpoint"):
        measured.model("s5-digits", tmp_path, tmp_path).right(measured.Cell("last", 0.6))


def test_a_missing_model_says_how_it_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"train\.py s4d-watch --out"):
        measured.model("s4d-watch", tmp_path, tmp_path)


def test_a_budget_is_broken_by_more_than_a_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    kept = budgets.Found("s5-digits", 0, 0.5, "upper limit", 0.4, -0.9, 0.4)
    broken = budgets.Found("s5-digits", 0, 0.5, "estimate", 0.6, -1.0, 0.4)
    none = budgets.Found("s5-digits", 1, 0.5, "upper limit", None)
    assert (kept.broken, broken.broken, none.broken) == (False, True, False)
    budgets.show([kept, broken, none])
    said = capsys.readouterr().out
    assert "| s5-digits, 0 | 0.5 | 40%: -0.9 ± 0.4 | **60%: -1.0 ± 0.4** |" in said
    assert "| 1 searches | | 0 broken, 1 with a ratio, mean ratio 40% (none as 0) | 1 broken" in said


def test_series_are_found_where_their_packages_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "@classLabel true 1 2\n@data\n1,2,3:4,5,6:1\n" + "7,8:9,10:2\n" * 6
    (tmp_path / "vowels.ts").write_text(text)
    monkeypatch.setattr(series, "_shipped", lambda package, name: tmp_path / "vowels.ts")
    train, val = (series.load("vowels", split, {}) for split in ("train", "val"))
    assert (len(train.x), len(val.x)) == (5, 2)
    np.testing.assert_array_equal(val.x[0, :4], [[1, 4], [2, 5], [3, 6], [0, 0]])
    assert val.lengths is not None and val.lengths.tolist() == [3, 2] and val.y.tolist() == [0, 1]
    files = series.write("vowels", tmp_path / "files")
    with np.load(files["val"]) as found:
        assert set(found) == {"x", "y", "lengths"}
    monkeypatch.undo()
    with pytest.raises(SystemExit, match="series"):
        series._shipped("no-such-package-anywhere", "x")
