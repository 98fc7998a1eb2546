"""Zeros among the weights of language models: masks as recorded, what is said, stamped and verified, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from cases import SAMPLES
from language_models import DATA, directories, model

import last_cli as last
from last_cli.base import registry
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.families.mamba2.network.forward import mixer_inputs
from last_cli.pruning.sparse import stream

RECORDED = DATA.with_name("wanda.npz")
CASE = "hf_base"


def source(name: str = CASE) -> Path:
    return directories() / name / "checkpoint"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    with np.load(RECORDED) as recorded:
        np.savez(tmp_path / "tokens.npz", x=recorded[f"{CASE}/tokens"][:4])
    return tmp_path / "tokens.npz"


def arrays(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """All arrays by path."""
    return {"/".join(key): array for key, array in checkpoint.read(checkpoint.leaves).items()}


def zeroed(tokens: Path, case: str = CASE, **options: Any) -> Checkpoint:
    given: dict[str, Any] = {"method": "wanda", **options}
    return last.prune(source(case), 0.5, calibration_file=tokens, **given)


def recorded() -> list[tuple[str, str, str]]:
    with np.load(RECORDED) as found:
        names = [key.split("/") for key in found if not key.endswith("tokens")]
    return sorted({(case, criterion, amount) for case, criterion, amount, _ in names})


@pytest.mark.parametrize(("case", "criterion", "amount"), recorded())
def test_the_zeros_are_those_that_are_recorded(tmp_path: Path, case: str, criterion: str, amount: str) -> None:
    """WANDA on the pruned model's own inputs, and the masks of the paper's code, which loses the residual stream."""
    with np.load(RECORDED) as found:
        np.savez(tmp_path / "tokens.npz", x=found[f"{case}/tokens"])
        masks = [found[key] for key in sorted(found) if key.startswith(f"{case}/{criterion}/{amount}/")]
    pattern = amount if ":" in amount else None
    ratio, tokens = 0.5 if pattern else int(amount) / 100, tmp_path / "tokens.npz"
    small = last.prune(source(case), ratio, criterion, target="weights", calibration_file=tokens, pattern=pattern)
    before, after = arrays(last.load(source(case))), arrays(small)
    own = [name for name in after if name.endswith("in_proj/weight")]
    assert len(own) == len(masks)
    for name, mask in zip(own, masks, strict=True):
        removed = np.unpackbits(mask, count=after[name].size).astype(bool).reshape(after[name].shape)
        np.testing.assert_array_equal(after[name] == 0, removed)
        np.testing.assert_array_equal(after[name][~removed], before[name][~removed])


def test_the_reference_differs_where_the_residual_stream_is_lost() -> None:
    with np.load(RECORDED) as found:
        case = "ssm_norm_before_gate"
        pairs = [[found[f"{case}/{c}/50/layer{i}"] for c in ("wanda", "reference-wanda")] for i in range(2)]
    same = [bool((one == other).all()) for one, other in pairs]
    assert same == [True, False]


@pytest.mark.parametrize("case", ["hf_bf16_sharded", "ssm_mlp", "mil_base"])
def test_every_row_of_every_module_has_its_zeros_in_all_dialects(tokens: Path, case: str) -> None:
    before = arrays(last.load(source(case)))
    small = zeroed(tokens, case, method="sparsegpt", pattern="2:4", modules="in_proj,out_proj,mlp")
    after = arrays(small)
    said = {entry["tensor"]: entry for entry in small.report.zeros["weights"]}  # pyright: ignore[reportOptionalMemberAccess]
    assert any("out_proj" in name for name in said)
    assert any("mlp" in name or "feed" in name for name in said) == (case not in ("hf_bf16_sharded",))
    for name, array in after.items():
        if name not in said:
            assert array.tobytes() == before[name].tobytes()
            continue
        assert ((array.reshape(len(array), -1, 4) == 0).sum(axis=-1) >= 2).all()
        assert (array.dtype, array.shape) == (before[name].dtype, before[name].shape)
        assert said[name]["zeros"] == (array == 0).sum() and said[name]["weights"] == array.size


@pytest.mark.parametrize(("method", "pattern"), [("wanda", None), ("sparsegpt", None), ("sparsegpt", "4:8")])
def test_what_is_written_is_the_same_twice_and_verified(
    tokens: Path, tmp_path: Path, method: str, pattern: Any
) -> None:
    outs = []
    for name in ("one", "other"):
        small = zeroed(tokens, "hf_bf16_sharded", method=method, pattern=pattern)
        outs.append(last.save(small, tmp_path / name))
    files = sorted(path.name for path in outs[0].iterdir())
    for file in files:
        assert (outs[0] / file).read_bytes() == (outs[1] / file).read_bytes(), file
    assert (outs[0] / "config.json").read_bytes() == (source("hf_bf16_sharded") / "config.json").read_bytes()
    report = last.verify(outs[0], source("hf_bf16_sharded"))
    assert all(check.passed for check in report.checks), report.checks
    names = [check.name for check in report.checks]
    assert "zeros where weights were removed" in names and (f"pattern {pattern}" in names) == (pattern is not None)
    assert ("kept entries bit-equal" in names) == (method == "wanda")


def test_another_zero_and_another_kept_weight_are_seen(tokens: Path) -> None:
    small = zeroed(tokens)
    key = tuple(small.report.zeros["weights"][0]["tensor"].split("/"))  # pyright: ignore[reportOptionalMemberAccess]
    array = small.read([key])[key]
    place = tuple(np.argwhere(array != 0)[0])
    for value, failing in ((0.0, "zeros where weights were removed"), (7.0, "kept entries bit-equal")):
        other = array.copy()
        other[place] = value
        checks = last.verify(replace(small, changed={**small.changed, key: other}), source()).checks
        assert [check.name for check in checks if not check.passed] == [failing]


def test_the_report_says_what_is_zero_and_that_nothing_shrinks(tokens: Path) -> None:
    small = zeroed(tokens)
    report = small.report
    assert report is not None
    said = report.as_json()
    assert (said["criterion"], said["target"]) == ("wanda", "weights")
    assert said["bytes"]["before"] == said["bytes"]["after"] and said["parameters"]["before"] == small.parameters
    assert said["states"]["after"] * 2 == said["states"]["before"] == 10752
    assert said["zeros"]["modules"] == ["in_proj"] and said["zeros"]["pattern"] is None
    assert said["calibration"]["tokens"] == 4 * 32 and "method" not in said
    step = small.stamp["pruned"][-1]
    assert step["weights"] == said["zeros"]["weights"] and step["target"] == "weights" and "changes" not in step
    assert json.dumps(said)
    refit = zeroed(tokens, method="sparsegpt")
    assert refit.report is not None and refit.report.as_json()["method"] == "sparsegpt"
    assert refit.stamp["pruned"][-1]["changes"] == ["dynamics", "input", "readout"]


def test_padding_and_what_was_read_before_do_not_count(tmp_path: Path) -> None:
    tokens = model(CASE).recorded["tokens"][0, :20].reshape(2, 10)
    ck = last.load(source())
    whole = Inputs(tokens[:, :6], None, {})
    padded = Inputs(np.where(np.arange(10) < 6, tokens, 0), np.array([6, 6]), {})
    late = Inputs(tokens[:, :6], None, {}, np.array([2, 2]))
    found = [next(iter(stream.blocks(ck, inputs))).squares("in_proj") for inputs in (whole, padded, late)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    assert (found[2] < found[0]).all()
    gram = next(iter(stream.blocks(ck, whole))).gram("in_proj")
    np.testing.assert_allclose(np.diag(gram), found[0], rtol=1e-6)


def test_blocks_one_by_one_are_the_network(tmp_path: Path) -> None:
    """What the last block puts out is what the head reads."""
    case, ck = model(CASE), last.load(source())
    tokens = case.recorded["tokens"][:, :12].astype(np.int32)
    tensors = {name: jnp.asarray(array) for name, array in case.tensors.items()}
    wanted, found = mixer_inputs(case.spec, tensors, jnp.asarray(tokens)), {}
    for block in stream.blocks(ck, Inputs(tokens, None, {})):
        found[f"{block.part.prefix}.mixer"] = block.squares("in_proj")
        block.forward()
    assert found.keys() == wanted.keys()
    for name, read in wanted.items():
        np.testing.assert_allclose(found[name], np.square(np.asarray(read)).sum(axis=(0, 1)), rtol=1e-5)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"criterion": "last", "target": "weights"}, "last neither scores nor removes weights"),
    ({"criterion": "wanda", "calibration_file": None}, "wanda measures the inputs of the weights on text"),
    ({"criterion": "wanda", "target": "heads"}, "removes no heads"),
    ({"criterion": "wanda", "pattern": "4:2"}, "expected N:M"),
    ({"criterion": "wanda", "pattern": "1:4"}, "zeroes 0.75 of the weights"),
    ({"criterion": "wanda", "pattern": "25:50"}, "rows of 32, which"),
    ({"criterion": "wanda", "modules": "in_proj,gate"}, "names 'gate'"),
    ({"criterion": "wanda", "modules": "in_proj,in_proj"}, "expected each once"),
    ({"criterion": "wanda", "modules": "mlp"}, "the model has no mlp"),
    ({"criterion": "wanda", "masked": True}, "does not go with"),
    ({"criterion": "wanda", "scope": "global"}, "does not go with"),
    ({"criterion": "magnitude", "pattern": "2:4"}, "magnitude removes no weights"),
    (
        {"criterion": "wanda", "ratio": None, "max_error": 0.1, "pattern": "2:4"},
        "max_error searches a ratio, and pattern",
    ),
    ({"criterion": "wanda", "ratio": None, "pattern": "2of4"}, "expected N:M"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_makes_no_sense_is_refused(tokens: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        last.prune(source(), **{"ratio": 0.5, "calibration_file": tokens, **options})
    assert said in error.value.message and error.value.hint


def test_a_pattern_is_a_ratio(tokens: Path) -> None:
    options: dict[str, Any] = {"criterion": "wanda", "calibration_file": tokens}
    said, asked = (last.prune(source(), ratio, pattern="1:4", **options) for ratio in (None, 0.75))
    assert (
        said.report is not None
        and said.report.ratio == 0.75
        and said.report.states.after * 4 == said.report.states.before
    )
    assert said.stamp == asked.stamp


def test_layers_without_a_language_model_and_scores_are_refused() -> None:
    for method in ("wanda", "sparsegpt"):
        with pytest.raises(UsageError, match="is for language models") as error:
            last.prune(SAMPLES / "s5-digits", 0.5, method=method)
        assert "states" in error.value.hint
    with pytest.raises(UsageError, match="neither scores nor removes"):
        last.score(source(), target="weights")
    with pytest.raises(UsageError, match="scores no states"):
        last.score(source(), "wanda")


def test_weights_that_are_not_finite_are_named(tokens: Path) -> None:
    ck = last.load(source())
    key = next(key for key in ck.leaves if "/".join(key).endswith("1/mixer/in_proj/weight"))
    array = ck.read([key])[key].copy()
    array[0, 0] = np.nan
    with pytest.raises(CheckpointError, match="not finite"):
        last.prune(replace(ck, changed={key: array}), 0.5, "wanda", calibration_file=tokens)


def test_methods_of_weights_are_in_the_registry() -> None:
    of_weights = [
        n for n in registry.names("methods") if getattr(registry.get("methods", n), "targets", ()) == ("weights",)
    ]
    assert of_weights == ["wanda", "reference-wanda", "sparsegpt"]
