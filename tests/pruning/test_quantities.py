"""Language models on calibration text: scores as recorded, what is said of them, and the budget of changed logits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from cases import SAMPLES
from language_models import DATA, directories, model
from texts import TEXT, with_words

import last_cli as last
from last_cli.base.errors import DataError, UsageError
from last_cli.families.mamba2.network.forward import logits
from last_cli.pruning.calibration import quantities, request, resume

CASE = "hf_groups"


def checkpoint(name: str = CASE) -> Path:
    return directories() / name / "checkpoint"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Two rows of tokens, the second with padding."""
    tokens = model(CASE).recorded["tokens"][0, :20].reshape(2, 10)
    np.savez(tmp_path / "text.npz", x=tokens, lengths=[10, 6])
    return tmp_path / "text.npz"


@pytest.mark.parametrize("name", ["mil_base", "phi_mva"])
def test_fisher_scores_are_those_that_are_recorded(tmp_path: Path, name: str) -> None:
    with np.load(DATA.with_name("fisher.npz")) as recorded:
        np.savez(tmp_path / "text.npz", x=recorded[f"{name}/tokens"])
        wanted = [recorded[key] for key in sorted(recorded) if key.startswith(f"{name}/layer")]
    found = last.score(checkpoint(name), "fisher", calibration_file=tmp_path / "text.npz")
    for layer, scores in zip(found.layers, wanted, strict=True):
        np.testing.assert_allclose(layer.scores, scores, rtol=1e-3)


def test_what_was_measured_is_said_and_the_same_twice(text: Path, tmp_path: Path) -> None:
    for criterion, measured in (("hinf", ["B", "C", "step"]), ("energy", ["energy"])):
        reports = [last.score(checkpoint(), criterion, calibration_file=text).as_json(per_unit=True) for _ in range(2)]
        assert json.dumps(reports[0]) == json.dumps(reports[1])
        said = reports[0]["calibration"]
        assert said["measured"] == measured and said["digest"].startswith("sha256:")
        assert (said["sequences"], said["of"], said["tokens"]) == (2, 2, 16) and said["digests"]["tokens"]
        free = last.score(checkpoint(), "hinf").as_json(per_unit=True)
        assert "calibration" not in free and free["layers"] != reports[0]["layers"]
    small = last.prune(checkpoint(), 0.5, "energy", calibration_file=text)
    out = last.save(small, tmp_path / "small")
    step = last.load(out).stamp["pruned"][-1]
    assert step["criterion"] == "energy" and step["calibration"] == said and "horizon" not in step
    assert all(check.passed for check in last.verify(out, checkpoint()).checks)
    assert small.report is not None and small.report.as_json()["calibration"] == said


def test_last_is_the_tail_share_of_the_calibrated_norms_and_energies_are_none(text: Path) -> None:
    for layer, share in zip(
        last.score(checkpoint(), "hinf", calibration_file=text).layers,
        last.score(checkpoint(), "last", calibration_file=text).layers,
        strict=True,
    ):
        order = np.argsort(-layer.scores, axis=None)
        ranked = layer.scores.ravel()[order]
        np.testing.assert_allclose(share.scores.ravel()[order], ranked / np.cumsum(ranked))
    assert all(layer.scores.max() != 1 for layer in last.score(checkpoint(), "energy", calibration_file=text).layers)


def test_a_text_is_cut_into_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(checkpoint(), tmp_path / "model")
    (tmp_path / "corpus.txt").write_text(TEXT)
    with_words(monkeypatch, tmp_path / "model")
    ck, corpus = last.load(tmp_path / "model"), tmp_path / "corpus.txt"
    whole = request.Calibration(calibration_file=corpus).read(ck, request.Draw())
    assert whole is not None and whole.x.shape == (1, 21) and whole.source["tokens"] == 21
    assert whole.source["digests"]["text"] and whole.source["digests"]["tokenizer"] and whole.skips is None
    monkeypatch.setattr("last_cli.tasks.language.WINDOW", 8)
    cut = request.Calibration(task=str(corpus)).read(ck, request.Draw())
    assert cut is not None and cut.x.shape == (3, 9) and cut.lengths is None
    assert cut.skips is not None and cut.skips.tolist() == [0, 0, 4] and cut.digest != whole.digest
    few = request.Calibration(2, calibration_file=corpus).read(ck, request.Draw())
    assert few is not None and len(few.x) == 2 and few.source["of"] == 3


def test_what_is_no_text_or_is_not_asked_for_is_refused(tmp_path: Path, text: Path) -> None:
    for criterion in ("energy", "fisher"):
        with pytest.raises(UsageError, match=f"criterion {criterion} measures states on text") as raised:
            last.prune(checkpoint(), 0.5, criterion)
        assert "calibration_file corpus.txt" in raised.value.args[1]
    with pytest.raises(UsageError, match="horizon is given"):
        last.score(checkpoint(), "energy", horizon=8, calibration_file=text)
    with pytest.raises(UsageError, match="the criterion magnitude takes none"):
        last.score(checkpoint(), "magnitude", calibration_file=text)
    with pytest.raises(UsageError, match="is a linear system, and the criterion fisher scores none"):
        last.score(SAMPLES / "s5-digits", "fisher")
    np.savez(tmp_path / "large.npz", x=[[1, 64]])
    with pytest.raises(DataError, match="the tokens 1 to 64, but the encoder takes 64"):
        last.score(checkpoint(), "hinf", calibration_file=tmp_path / "large.npz")
    with pytest.raises(DataError, match="none"):
        last.score(checkpoint(), "hinf", calibration_file=tmp_path / "none.npz")
    with pytest.raises(UsageError, match="max_error needs text for a language model"):
        last.prune(checkpoint(), max_error=0.1)


def test_a_budget_of_changed_logits_is_searched_on_text(text: Path) -> None:
    ck = last.load(checkpoint())
    small = last.prune(ck, 0.5, masked=True)
    inputs = request.Calibration(calibration_file=text).read(ck, request.Draw())
    assert inputs is not None
    found = quantities.changes(ck, small, inputs)
    run, x = jax.jit(lambda t, x: logits(model(CASE).spec, t, x)), inputs.x.astype(np.int32)
    both = [
        np.asarray(run({".".join(k): a for k, a in one.read(one.leaves).items()}, x), np.float64) for one in (ck, small)
    ]
    before, after = (part - part.mean(-1, keepdims=True) for part in both)
    for row, length in enumerate((10, 6)):
        wanted = [np.square(part[row, :length]).sum() for part in (after - before, before)]
        np.testing.assert_allclose(found[row], wanted, rtol=1e-3)
    error = float(found[:, 0].sum() / found[:, 1].sum())
    within = last.prune(ck, max_error=1.01 * error, calibration_file=text, criterion="magnitude")
    assert within.report is not None and within.report.search is not None
    said = within.report.search.as_json()
    assert said["kind"] == "max_error" and said["file"] == str(text) and said["digests"]["tokens"]
    assert all(point["within"] == (point["error"] <= 1.01 * error) for point in said["points"])


def test_an_unfinished_measurement_goes_on(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    ck, run = last.load(checkpoint()), quantities.on_all_devices
    inputs = request.Calibration(calibration_file=text).read(ck, request.Draw())
    assert inputs is not None
    starts: list[int] = []

    def watched(program: Any, params: Any, inputs: Any, each: Any, progress: Any, start: int) -> Any:
        starts.append(start)
        return run(program, params, inputs, each, progress, start)

    monkeypatch.setattr(quantities, "on_all_devices", watched)
    first, again = (quantities.quantity_means(ck, inputs, ("hinf", "states")) for _ in range(2))
    assert starts == [0, 2]
    jax.tree.map(np.testing.assert_array_equal, first, again)
    other = replace(inputs, skips=np.array([1, 0], np.int32))
    assert inputs.digest != other.digest


def test_gates_of_a_language_model_are_refused() -> None:
    with pytest.raises(UsageError, match="is no linear system, and the criterion gn scores one") as raised:
        last.score(checkpoint(), "gn")
    assert "fisher" in raised.value.args[1]
