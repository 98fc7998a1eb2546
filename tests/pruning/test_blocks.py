"""Whole blocks go: what the loss says is brute force, what is left is the same model without them, in every layout."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import directories, model
from prunings import run

import last_cli as last
from last_cli.base.errors import CheckpointError, LastError, UsageError
from last_cli.families.mamba2.depth import shortened
from last_cli.families.mamba2.dialect import MAIN
from last_cli.pruning.blocks.shorten import shortened as without

GROUPS = "hf_groups"
LAYOUTS = {
    "hf_bf16_sharded": {("num_hidden_layers",): 2},
    "bamba": {("num_hidden_layers",): 2, ("attn_layer_indices",): [0]},
    "granite_dense": {("num_hidden_layers",): 2, ("layer_types",): ["full_attention", "linear_attention"]},
}


def source(name: str) -> Path:
    return directories() / name / "checkpoint"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Calibration sequences, of which the second is shorter."""
    x = np.random.default_rng(0).integers(0, 60, (3, 24))
    np.savez(tmp_path / "tokens.npz", x=x, lengths=[24, 9, 24])
    return tmp_path / "tokens.npz"


def pruned(name: str, tokens: Path, ratio: float = 0.3, **options: Any) -> last.Checkpoint:
    return last.prune(source(name), ratio, "loss", calibration_file=tokens, **options)


def loss(checkpoint: Any, tokens: Path) -> float:
    return last.evaluate(checkpoint, str(tokens)).as_json()["loss"]


def said(checkpoint: last.Checkpoint) -> Any:
    assert checkpoint.report is not None
    return checkpoint.report.as_json()["blocks"]


def test_each_time_the_block_goes_that_the_loss_misses_least(tokens: Path, tmp_path: Path) -> None:
    small = pruned(GROUPS, tokens, 0.6)
    found, opened = said(small), last.load(source(GROUPS))
    assert found["search"] == "greedy" and found["loss"] == pytest.approx(loss(opened, tokens), rel=1e-5)
    left, losses = [0, 1, 2], dict[int, float]()
    for step in found["removed"]:
        losses = {i: loss(without(opened, [j for j in left if j != i]), tokens) for i in left}
        gone = min(left, key=losses.__getitem__)
        assert step["block"] == f"backbone/layers/{gone}"
        assert step["loss"] == pytest.approx(losses[gone], rel=1e-5)
        left.remove(gone)
    assert found["kept"] == left
    layers = small.report.layers if small.report else []
    assert [layer.after for layer in layers] == [int(i in left) for i in range(3)]
    rise = {i: losses[i] - found["removed"][0]["loss"] for i in left}
    assert [layer.smallest_kept_score for layer in layers if layer.after] == pytest.approx([*rise.values()], abs=1e-5)


@pytest.mark.parametrize("name", [*LAYOUTS, "ssm_mlp"])
def test_what_is_left_computes_what_zeros_in_their_place_do(name: str, tokens: Path, tmp_path: Path) -> None:
    opened = last.load(source(name))
    count = len(model(name).spec.blocks)
    small = pruned(name, tokens, 1 / count)
    out = last.load(last.save(small, tmp_path / "small"))
    masked = pruned(name, tokens, 1 / count, masked=True)
    assert said(masked)["kept"] == said(small)["kept"] and masked.parameters == opened.parameters > out.parameters
    x = model(name).recorded["tokens"]
    np.testing.assert_allclose(run(out, x), run(masked, x), atol=2e-5)
    assert last.verify(out, opened).passed and last.verify(masked, opened).passed
    again = pruned(name, tokens, 1 / count)
    last.save(again, tmp_path / "again")
    one, other = (sorted((tmp_path / place).iterdir()) for place in ("small", "again"))
    assert [(file.name, file.read_bytes()) for file in one] == [(file.name, file.read_bytes()) for file in other]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_configuration_counts_and_numbers_them_anew(name: str) -> None:
    changes = shortened(
        last.load(source(name)).index.config, [b.mixer is not None for b in model(name).spec.blocks], [1, 2]
    )
    assert changes == {"config.json": LAYOUTS[name]}


def test_lists_of_each_mixer_lose_entries_and_lists_that_do_not_fit_are_named() -> None:
    main = {"ssm_cfg": {}, "n_layer": 3, "attn_layer_idx": [0, 2], "norm_eps_list": [1e-5], "d_state_list": [1, 2, 3]}
    found = shortened({MAIN: main}, [False, True, False], [1, 2])
    wanted = {("n_layer",): 2, ("attn_layer_idx",): [1], ("norm_eps_list",): [1e-5], ("d_state_list",): [2, 3]}
    assert found == {"config.json": wanted}
    with pytest.raises(CheckpointError, match="d_state_list has 2 entries, expected one for each of 1 mixers, or of 3"):
        shortened({MAIN: {**main, "d_state_list": [1, 2]}}, [False, True, False], [1])
    with pytest.raises(UsageError, match="n_layer is 4, and the model has 3 blocks"):
        shortened({MAIN: {**main, "n_layer": 4}}, [False, True, False], [1])
    core = {"core_input": {"n_qk_heads_list": [4, 2]}, "n_layers": 2}
    phi = {"MixerModel": {"input": {"n_layer": 2}}, "Block1": core}
    paths = [("MixerModel", "input", "n_layer"), ("Block1", "n_layers"), ("Block1", "core_input", "n_qk_heads_list")]
    with pytest.raises(CheckpointError, match="expected one number for all"):
        shortened({MAIN: phi}, [True, True], [1])
    core["core_input"]["n_qk_heads_list"] = [2, 2]
    assert shortened({MAIN: phi}, [True, True], [1]) == {"config.json": dict(zip(paths, [1, 1, [2]], strict=True))}


def test_what_is_said_of_it(tokens: Path) -> None:
    from last_cli.display.opened import needed_lines
    from last_cli.display.prune import prune_hints, prune_view

    report = pruned(GROUPS, tokens).report
    assert report is not None and report.states == (3, 2) and not report.warnings
    assert [line.partition(" file")[0] for line in needed_lines(report.needed)] == ["the network ran on"]
    assert any(line.startswith("blocks gone, one after the other: layers/") for line in prune_view(report).lines)
    assert prune_hints(report) == ["every layer has the same sizes, and it loads in the stock class"]


def test_sizes_of_mixers_that_differ_go_with_them(tokens: Path, tmp_path: Path) -> None:
    ragged = last.prune(source(GROUPS), 0.4, "random", scope="global", multiple_of=1)
    one = last.load(last.save(ragged, tmp_path / "one"))
    small = last.prune(one, 0.3, "loss", calibration_file=tokens)
    before, after = (c.index.config["file:config.json"]["last_layers"] for c in (one, small))
    assert after == [before[i] for i in said(small)["kept"]]
    two = last.load(last.save(small, tmp_path / "two"))
    assert last.verify(two, one).passed
    np.testing.assert_array_equal(run(two, x := model(GROUPS).recorded["tokens"]), run(small, x))


def test_two_prunings_in_memory_are_written_as_one(tokens: Path, tmp_path: Path) -> None:
    once = pruned(GROUPS, tokens)
    twice = last.prune(once, 0.5, "loss", calibration_file=tokens)
    out = last.load(last.save(twice, tmp_path / "out"))
    assert len(out.layers) == 1 and last.verify(out, source(GROUPS)).passed
    assert {layer.name for layer in out.layers} == {"backbone/layers/0/mixer"}


def test_shards_that_lose_all_their_tensors_go(tokens: Path, tmp_path: Path) -> None:
    out = last.save(pruned("hf_bf16_sharded", tokens, 0.6), tmp_path / "out")
    places = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
    assert {*places.values()} == {file.name for file in out.glob("*.safetensors")}
    assert {name for name in places if ".layers." in name} == {n for n in places if n.startswith("backbone.layers.0.")}


def test_a_file_of_pytorch_keeps_its_kind_and_what_is_tied(tokens: Path, tmp_path: Path) -> None:
    out = last.save(pruned("ssm_mlp", tokens, 0.5), tmp_path / "out")
    with zipfile.ZipFile(out / "pytorch_model.bin") as archive:
        storages = [name for name in archive.namelist() if "/data/" in name]
    opened = last.load(out)
    assert len(storages) == len(opened.leaves) - 1
    embedding, head = opened.read([("backbone", "embedding", "weight"), ("lm_head", "weight")]).values()
    np.testing.assert_array_equal(embedding, head)


def test_a_limit_finds_how_many_go(tokens: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, x=np.random.default_rng(1).integers(0, 60, (4, 24)))
    small = last.prune(source(GROUPS), criterion="loss", max_error=1e9, estimate=False, calibration_file=other)
    assert small.report is not None and small.report.search is not None
    assert len(said(small)["kept"]) == 1 and len(small.layers) == 1


def test_one_of_each_kind_stays_and_so_many_as_asked(tokens: Path) -> None:
    assert said(pruned("bamba", tokens, 0.99))["kept"] in ([0, 1], [1, 2])
    assert len(said(pruned(GROUPS, tokens, 0.99, min_states=2))["kept"]) == 2
    assert said(pruned(GROUPS, tokens, 0.0))["removed"] == []


def test_other_blocks_than_the_stamp_says_are_seen(tokens: Path, tmp_path: Path) -> None:
    out = last.save(pruned(GROUPS, tokens), tmp_path / "out")
    stamp = json.loads((out / "last.json").read_text())
    kept = stamp["pruned"][0]["blocks"]["kept"]
    stamp["pruned"][0]["blocks"]["kept"] = [i for i in range(3) if i != kept[0]]
    (out / "last.json").write_text(json.dumps(stamp))
    failed = [check.name for check in last.verify(out, source(GROUPS)).checks if not check.passed]
    assert failed == ["the other blocks bit-equal and in order", "stamp as written"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"criterion": "loss"}, "loss measures the loss on text, and none is given"),
        ({"criterion": "random", "target": "blocks"}, "random neither scores nor removes whole blocks"),
        ({"criterion": "loss", "target": "heads"}, "removes no heads"),
        ({"criterion": "loss", "stock": True}, "stock does not go with .*target.*blocks"),
        ({"criterion": "loss", "scope": "layer"}, "does not go with .*target.*blocks"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LastError, match=words):
        last.prune(source(GROUPS), 0.5, **options)
