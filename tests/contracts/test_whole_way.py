"""Every checkpoint that real libraries wrote: scored and pruned, or refused, as its manifest asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_fixtures import DATA

import last_cli as last
from last_cli.base.errors import LastError
from last_cli.pruning.verify import verify

FIXTURES = json.loads((DATA / "manifest.json").read_text())["fixtures"]
CASES = [(f["name"], path, f["says"]) for f in FIXTURES for path in f["user_paths"]]
FIRST = {f["name"]: f["user_paths"][0] for f in FIXTURES}


@pytest.mark.parametrize(("name", "path", "says"), CASES, ids=[f"{name}-{path}" for name, path, _ in CASES])
def test_scores_and_prunes_or_refuses_as_the_manifest_says(
    name: str, path: str, says: dict[str, Any], fixtures: Path, tmp_path: Path
) -> None:
    given = fixtures / name / path
    if says["status"] == "ok":
        ck = last.load(given)
        if "n_layers" in says:
            assert [layer.sizes.states for layer in ck.layers] == says["states_per_layer"]
            assert ck.layers[0].sizes.features == says["h"]
            assert ck.family == says["tree"]
        if path != FIRST[name]:  # the same checkpoint; what is saved of each path is in formats/test_write
            assert ck.digest == last.load(fixtures / name / FIRST[name]).digest
            return
        small = last.prune(ck, 0.3)
        last.save(small, tmp_path / "pruned")
        assert verify(last.load(tmp_path / "pruned"), ck).passed
    elif says["status"] in ("error", "error_unless_clip"):
        with pytest.raises(LastError) as caught:
            last.save(last.prune(last.load(given), 0.3), tmp_path / "pruned")
        assert name in caught.value.message
        assert caught.value.hint
        assert list(tmp_path.iterdir()) == []
    else:  # either answer is right, a traceback is not
        try:
            last.score(last.load(given))
        except LastError as error:
            assert error.hint


def test_clipping_makes_the_unstable_fixture_fine(fixtures: Path) -> None:
    ck = last.load(fixtures / "num_unstable_lambda" / "ckpt", clip_eigs=True)
    norms = last.score(ck).layers[2].norms
    assert norms is not None and norms.abs_lambda.max() < 1


def test_moments_in_the_same_tree_shrink_with_their_parameters(fixtures: Path, tmp_path: Path) -> None:
    ck = last.load(fixtures / "cur_flax_orbax_trainstate" / "ckpt")
    small = last.prune(ck, 0.5)
    assert small.report is not None
    assert small.report.sliced_copies > 0
    last.save(small, tmp_path / "pruned")
    loaded = last.load(tmp_path / "pruned")
    for layer in loaded.layers:
        place = layer.leaves["B"][1:]  # below "params"
        shapes = [
            f.shape for k, f in loaded.leaves.items() if k[-len(place) :] == place and f.kind == "array" and f.shape
        ]
        assert len(shapes) == 3  # the parameter, its mu and its nu
        assert set(shapes) == {loaded.leaves[layer.leaves["B"]].shape}


@pytest.mark.parametrize("name", ["cur_manager_default_item", "cur_v1_save_pytree", "cur_msgpack_to_bytes_aire"])
def test_masked_output_keeps_every_shape(name: str, fixtures: Path, tmp_path: Path) -> None:
    ck = last.load(fixtures / name / FIRST[name])
    last.save(last.prune(ck, 0.5, masked=True), tmp_path / "masked")
    masked = last.load(tmp_path / "masked")
    assert {k: f.shape for k, f in masked.leaves.items()} == {k: f.shape for k, f in ck.leaves.items()}
    assert verify(masked, ck).passed
    report, before = last.score(masked), last.score(ck)
    assert report.states == before.states - before.states // 2
    norms = [layer.norms.hinf[0] for layer in report.layers if layer.norms]
    assert sum(int((hinf == 0).sum()) for hinf in norms) == before.states // 2
    for layer, hinf in zip(masked.layers, norms, strict=True):
        removed = hinf == 0
        assert not masked.arrays(layer)["B"][removed].any()
        assert np.isfinite(masked.arrays(layer)["Lambda_re"]).all()
