"""The `reference-*` criteria select what the paper's code selected when it ran, and the models are those it made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import foreign
import numpy as np
import pytest
from language_models import directories
from prunings import run

import last_cli as last
from last_cli.base.errors import UsageError

DATA = Path(__file__).parents[1] / "data" / "mamba2"
INNER, STATES = 64, 16
ROWS = {"B": 2 * INNER, "C": 2 * INNER + STATES}


@cache
def recorded(case: str) -> Mapping[str, np.ndarray]:
    with np.load(DATA / "reference.npz") as found:
        return {key.removeprefix(f"{case}/"): found[key] for key in found if key.startswith(f"{case}/")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model of mamba_ssm with one group."""
    found, folder = recorded("ssm_base"), tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(str(found["config"]))
    tensors = {key.removeprefix("tensor/"): array for key, array in found.items() if key.startswith("tensor/")}
    foreign.write_safetensors(folder / "model.safetensors", tensors)
    return folder


def calibration(case: str, folder: Path) -> Path:
    with np.load(DATA / "flap.npz") as found:
        x = recorded(case)["calibration"] if case == "ssm_base" else found[f"{case}/tokens"]
    np.savez(folder / "tokens.npz", x=x.astype(int))
    return folder / "tokens.npz"


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("percent", [25, 50])
def test_magnitudes_that_are_ranked_apart_make_the_model_of_the_papers_code(
    percent: int, masked: bool, source: Path, tmp_path: Path
) -> None:
    found = recorded("ssm_base")
    small = last.prune(source, percent / 100, "reference-magnitude", multiple_of=1, masked=masked)
    out = last.load(last.save(small, tmp_path / "out"))
    error = np.abs(run(out, found["tokens"]) - found[f"magnitude_{percent}/logits"]).max()
    assert error <= 1e-5 * found["scale"]
    step = small.stamp["pruned"][-1]
    for number, (layer, readouts) in enumerate(zip(step["layers"], step["readouts"], strict=True)):
        rows = found[f"magnitude_{percent}/rows{number}"]
        for part, kept in (("B", layer["kept"]), ("C", readouts)):
            first = ROWS[part]
            assert kept == [row - first for row in rows if first <= row < first + STATES]
    assert last.verify(out, source).passed
    assert small.report is not None and any("B and C are chosen apart" in line for line in small.report.warnings)
    with pytest.raises(UsageError, match="B and C were chosen apart there"):
        last.prune(source, keep=small.stamp)
    with pytest.raises(UsageError, match=r'scope="global" does not go with reference-magnitude'):
        last.prune(source, 0.5, "reference-magnitude", scope="global", multiple_of=1)


def test_a_pair_that_the_stamp_does_not_say_is_seen(source: Path, tmp_path: Path) -> None:
    out = last.save(last.prune(source, 0.5, "reference-magnitude"), tmp_path / "out")
    stamp = json.loads((out / "last.json").read_text())
    numbers = stamp["pruned"][0]["readouts"][0]
    other = next(n for n in range(STATES) if n not in numbers)
    stamp["pruned"][0]["readouts"][0] = sorted([*numbers[1:], other])
    (out / "last.json").write_text(json.dumps(stamp))
    failed = [check.name for check in last.verify(out, source).checks if not check.passed]
    assert "kept entries bit-equal" in failed
    one = last.load(last.save(last.prune(source, 0.25, "magnitude", multiple_of=1), tmp_path / "one"))
    two = last.save(last.prune(one, 0.5, "reference-magnitude"), tmp_path / "two")
    assert last.verify(two, one).passed and last.verify(two, source).passed


@pytest.mark.parametrize(("criterion", "order"), [("reference-fisher", "second"), ("reference-taylor", "first")])
def test_orders_are_those_of_the_papers_code(criterion: str, order: str, source: Path, tmp_path: Path) -> None:
    report = last.score(source, criterion, calibration_file=calibration("ssm_base", tmp_path))
    for number, layer in enumerate(report.layers):
        np.testing.assert_array_equal(
            np.argsort(layer.scores[0]), recorded("ssm_base")[f"taylor_{order}/order{number}"][0]
        )


def test_the_loss_of_phi_mamba_is_that_of_the_token_just_read(tmp_path: Path) -> None:
    ck, file = last.load(directories() / "phi_mva" / "checkpoint"), calibration("phi_mva", tmp_path)
    own = last.score(ck, "reference-fisher", calibration_file=file)
    right = last.score(ck, "fisher", calibration_file=file)
    for number, (layer, other) in enumerate(zip(own.layers, right.layers, strict=True)):
        np.testing.assert_allclose(layer.scores, recorded("phi_mva")[f"unshifted{number}"], rtol=1e-3)
        assert np.abs(layer.scores - other.scores).max() > 0.1 * layer.scores.max()


@pytest.mark.parametrize("percent", [25, 50])
def test_flap_of_the_papers_code_keeps_one_head_fewer(percent: int, tmp_path: Path) -> None:
    file = calibration("hf_base", tmp_path)
    report = last.score(
        directories() / "hf_base" / "checkpoint", "reference-flap", ratio=percent / 100, calibration_file=file
    )
    with np.load(DATA / "flap.npz") as found:
        wanted = found[f"hf_base/flap_{percent}"]
    np.testing.assert_array_equal([y.keep.ravel() for y in report.layers if y.keep is not None], wanted)


@pytest.mark.parametrize("percent", [25, 50])
def test_where_its_hook_never_fires_the_first_head_of_each_layer_is_left(
    percent: int, source: Path, tmp_path: Path
) -> None:
    """As recorded of ssm_base, ssm_no_rmsnorm and ssm_norm_before_gate, whatever was asked for."""
    file = calibration("ssm_base", tmp_path)
    small = last.prune(source, percent / 100, "reference-flap", calibration_file=file)
    assert [layer["kept"] for layer in small.stamp["pruned"][-1]["layers"]] == [[0]] * 2
    assert last.verify(last.load(last.save(small, tmp_path / "out")), source).passed


def test_what_the_papers_code_cannot_do_is_refused(tmp_path: Path) -> None:
    groups = last.load(directories() / "hf_groups" / "checkpoint")
    with pytest.raises(UsageError, match="the paper's code ranks the states of all 4 groups for each of them"):
        last.prune(groups, 0.5, "reference-magnitude")
    np.savez(tmp_path / "tokens.npz", x=np.arange(24).reshape(2, 12))
    with pytest.raises(UsageError, match="without regard to the 4 groups that share B and C, and its model"):
        last.prune(groups, 0.5, "reference-flap", calibration_file=tmp_path / "tokens.npz")
    base = last.load(directories() / "hf_base" / "checkpoint")
    with pytest.raises(UsageError, match="reference-magnitude, which pairs B and C anew"):
        last.prune(base, 0.5, "reference-magnitude", refit=True)
    with pytest.raises(UsageError, match="has heads, which the criterion reference-magnitude does not score"):
        last.prune(base, 0.5, "reference-magnitude", target="heads")
