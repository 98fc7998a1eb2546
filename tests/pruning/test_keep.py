"""Exactly the units that a file lists stay, in checkpoints of every family, and masked and compacted agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from commands import S5
from language_models import Model, directories, model
from random_layers import written

import last_cli as last
from last_cli import formats
from last_cli.base.errors import UsageError
from last_cli.families.mamba2.network.forward import logits
from last_cli.families.mamba2.network.spec import language_spec

PRUNED = [("phi_mva", False), ("mil_base", False), ("falcon_h1_norm", True), ("hf_groups", False)]
SMALLER = [
    ("hf_base", "heads50"),
    ("hf_bf16_sharded", "headdims50"),
    ("granite_dense", "heads50"),
    ("falcon_h1_norm", "heads50"),
    ("ssm_bf16", "heads50"),
    ("ssm_groups_eq_heads", "heads50"),
    ("llamba_base", "headdims50"),
    ("mil_base", "heads50"),
    ("mil_base", "headdims50"),
]
TARGETS = {"states_ragged": "states", "heads50": "heads", "headdims50": "channels"}


def kept(case: Model, layers: int, pruning: str = "states_ragged") -> dict[str, Any]:
    recorded = [np.asarray(case.recorded[f"{pruning}/layer{i}"]).tolist() for i in range(layers)]
    return {"target": TARGETS[pruning], "layers": [{"kept": units} for units in recorded]}


def answers(directory: Path, case: Model) -> np.ndarray:
    index = formats.index(directory)
    tensors = {".".join(key): array.astype(np.float32) for key, array in formats.read(index).items()}
    spec = language_spec({name: array.shape for name, array in tensors.items()}, index.config)
    return np.asarray(jax.jit(lambda t, x: logits(spec, t, x, 16))(tensors, case.recorded["tokens"]))


@pytest.mark.parametrize(("name", "stock"), PRUNED)
def test_a_recorded_pruning_written_and_read_again_answers_as_the_library(
    tmp_path: Path, name: str, stock: bool
) -> None:
    case, source = model(name), directories() / name / "checkpoint"
    opened = last.load(source)
    keep = kept(case, len(opened.layers))
    for masked in (False, True):
        small = last.prune(opened, keep=keep, masked=masked, stock=stock and not masked)
        out = last.save(small, tmp_path / f"masked-{masked}")
        report = last.verify(out, source)
        assert all(check.passed for check in report.checks)
        difference = np.abs(answers(out, case) - case.recorded["states_ragged/logits"]).max()
        assert difference <= 1e-5 * float(case.recorded["scale"])


@pytest.mark.parametrize(("name", "pruning"), SMALLER)
def test_recorded_heads_and_channels_written_and_read_again_answer_as_the_library(
    tmp_path: Path, name: str, pruning: str
) -> None:
    case, source = model(name), directories() / name / "checkpoint"
    opened = last.load(source)
    small = last.prune(opened, keep=kept(case, len(opened.layers), pruning))
    out = last.save(small, tmp_path / "small")
    assert small.report is not None and not small.report.warnings
    assert all(check.passed for check in last.verify(out, source).checks)
    difference = np.abs(answers(out, case) - case.recorded[f"{pruning}/logits"]).max()
    assert difference <= 1e-5 * float(case.recorded["scale"])
    again = last.load(out)
    found = {leaf.key for leaf in again.leaves.values() if leaf.dtype == "float32"}
    norms = {layer.leaves["norm.weight"] for layer in again.layers if "norm.weight" in layer.leaves}
    assert len(found) == len(again.leaves) or found == norms  # alone among 16 bits


def test_a_file_and_the_stamp_of_a_pruning_are_taken(tmp_path: Path) -> None:
    source = directories() / "hf_groups" / "checkpoint"
    first = last.save(last.prune(source, ratio=0.5, criterion="random", multiple_of=2), tmp_path / "first")
    stamp = json.loads((first / "last.json").read_text())
    (tmp_path / "keep.json").write_text(json.dumps({"layers": stamp["pruned"][0]["layers"]}))
    for keep in (first, first / "last.json", tmp_path / "keep.json"):
        again = last.prune(source, keep=keep)
        assert again.report is not None
        assert (again.report.criterion, again.report.ratio) == ("keep", 0.5)
        assert [layer.smallest_kept_score for layer in again.report.layers] == [None] * 3
        for key, array in again.read(again.leaves).items():
            assert array.tobytes() == last.load(first).read([key])[key].tobytes()


@pytest.mark.parametrize("kind", ["s5-two-directions", "s4d"])
def test_a_choice_is_repeated_on_other_weights(tmp_path: Path, kind: str) -> None:
    one, other = written(tmp_path / "one", kind, seed=1), written(tmp_path / "other", kind, seed=2)
    first = last.prune(one, ratio=0.4)
    out = last.save(first, tmp_path / "small")
    again = last.prune(other, keep=out)
    assert again.stamp["pruned"][0]["layers"] == first.stamp["pruned"][0]["layers"]
    assert again.report is not None and first.report is not None
    assert again.report.states == first.report.states
    assert all(layer.gain_bound is not None for layer in again.report.layers)


WRONG = {
    "lists 1 layers, and .* has 3": {"layers": [{"kept": [[0]] * 4}]},
    r"layer 0 \(.*\): expected a list of states for each of 4 groups": {"layers": [{"kept": [[0]]}] * 3},
    "8 is none of its 8 states": {"layers": [{"kept": [[0], [1], [2], [8]]}] * 3},
    "True is none of its 8 states": {"layers": [{"kept": [[0], [1], [2], [True]]}] * 3},
    "a number stands there twice": {"layers": [{"kept": [[0, 0], [1, 2], [2, 3], [4, 5]]}] * 3},
    "groups keep 1 to 2 states": {"layers": [{"kept": [[0, 1], [1], [2], [4]]}] * 3},
    "no `kept`": {"layers": [{}] * 3},
    "lists no `layers`": {"target": "states"},
    "expected a list of states for each of 4 groups": {"layers": [{"kept": [[0], [0], [0]] * 4}] * 3},
    "target is weights, and a list keeps": {"target": "weights", "layers": []},
    "target is groups, and a list keeps": {"target": "groups", "layers": []},
    "has no axes$": {"target": "axes", "layers": []},
    "target is None, expected a name": {"target": None, "layers": []},
    r"target is \['states'\], expected a name": {"target": ["states"], "layers": []},
}


@pytest.mark.parametrize("said", WRONG)
def test_what_does_not_fit_is_named(said: str) -> None:
    with pytest.raises(UsageError, match=said):
        last.prune(directories() / "hf_groups" / "checkpoint", keep=WRONG[said])


def test_a_file_that_is_no_list_is_no_damaged_checkpoint(tmp_path: Path) -> None:
    for content in ("[1, 2]", "not json"):
        (tmp_path / "keep.json").write_text(content)
        with pytest.raises(UsageError, match="JSON") as error:
            last.prune(directories() / "hf_groups" / "checkpoint", keep=tmp_path / "keep.json")
        assert '"kept"' in error.value.hint


def test_an_edited_stamp_chooses_nothing(tmp_path: Path) -> None:
    small = last.save(last.prune(S5, 0.5), tmp_path / "small")
    file = small / "last.json"
    stamp = json.loads(file.read_text())
    stamp["pruned"][0]["layers"][0]["kept"][0] += 1
    file.write_text(json.dumps(stamp))
    with pytest.raises(UsageError, match="is not as `last` wrote it"):
        last.prune(S5, keep=small)


def test_nothing_else_may_choose() -> None:
    source = directories() / "hf_groups" / "checkpoint"
    with pytest.raises(UsageError, match="keep and ratio or a budget are given"):
        last.prune(source, ratio=0.5, keep=WRONG["no `kept`"])
    with pytest.raises(UsageError, match="cuts and changes nothing else"):
        last.prune(source, keep=WRONG["no `kept`"], refit=True)
    with pytest.raises(UsageError, match="multiple_of rounds what a ratio keeps"):
        last.prune(source, keep=WRONG["no `kept`"], multiple_of=8)
    with pytest.raises(UsageError, match="strict goes with a budget"):
        last.prune(source, keep=WRONG["no `kept`"], strict=True)
    with pytest.raises(UsageError, match="no such file"):
        last.prune(source, keep="missing.json")
