"""A language model on texts and tokens: perplexity as lm-eval counts it, windows paired, and what cannot be judged."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from language_models import Model, model
from texts import TEXT, Words, with_words

import last_cli as last
from last_cli.base.errors import CheckpointError, DataError, UsageError
from last_cli.families.mamba2.network.forward import logits

CASE, WINDOW = "hf_groups", 8


@cache
def log_p(case: str, tokens: tuple[int, ...]) -> np.ndarray:
    """log p (T, V) behind each of these tokens, in float64."""
    found = model(case)
    out = np.asarray(jax.jit(lambda t, x: logits(found.spec, t, x))(dict(found.tensors), np.array([tokens])))
    out = out[0].astype(np.float64)
    return out - np.log(np.exp(out).sum(axis=-1, keepdims=True))


def rolling(tokens: list[int], first: int, window: int, stride: int) -> float:
    """The sum of log p by lm-eval's `loglikelihood_rolling`: get_rolling_token_windows, context_len from the stride."""
    total, done = 0.0, min(window, len(tokens))
    parts = [([first, *tokens[: done - 1]], tokens[:done])]
    while done < len(tokens):
        many = min(len(tokens) - done, stride)
        end, done = done + many, done + many
        parts.append((tokens[end - window - 1 : end - 1], tokens[end - many : end]))
    for read, predicted in parts:
        rows = log_p(CASE, tuple(read))[-len(predicted) :]
        total += rows[np.arange(len(predicted)), predicted].sum()
    return total


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with a tokenizer beside it, and a text."""
    shutil.copytree(model(CASE).directory / "checkpoint", tmp_path / "model")
    (tmp_path / "corpus.txt").write_text(TEXT)
    return with_words(monkeypatch, tmp_path / "model")


def other(case: Model, seed: int = 0) -> dict[tuple[str, ...], np.ndarray]:
    """The embedding, a little changed."""
    key = "backbone.embeddings.weight"
    noise = np.random.default_rng(seed).normal(0, 0.05, case.tensors[key].shape)
    return {tuple(key.split(".")): (case.tensors[key] + noise).astype(np.float32)}


@pytest.mark.parametrize("stride", [WINDOW, 3])
def test_perplexity_of_a_text_is_that_of_lm_eval(directory: Path, stride: int) -> None:
    task = str(directory.parent / "corpus.txt")
    report = last.evaluate(last.load(directory), task, window=WINDOW, stride=stride).as_json()
    tokens = [1, 2, 3, 4, 5, 2, 6, 7, 2, 8, 9, 2, 10, 11, 12, 13, 7, 14, 15, 16]
    nats = -rolling(tokens, 0, WINDOW, stride)
    words, size = len(re.split(r"\s+", TEXT)), len(TEXT.encode())
    assert report["n"] == len(tokens) and (report["window"], report["stride"]) == (WINDOW, stride)
    assert report["loss"] == pytest.approx(nats / len(tokens), rel=1e-5)
    expected = {"token": np.exp(nats / len(tokens)), "word": np.exp(nats / words), "byte": np.exp(nats / size)}
    assert report["perplexity"] == pytest.approx(expected, rel=1e-4)
    assert report["bits_per_byte"] == pytest.approx(nats / size / np.log(2), rel=1e-5)
    assert "accuracy" not in report and None not in report["digests"].values()


def test_tokens_give_the_recorded_loss_and_rows_do_not_mix(tmp_path: Path) -> None:
    case = model(CASE)
    tokens = case.recorded["tokens"]
    recorded = case.recorded["logits"].astype(np.float64)[0, :-1]
    recorded = recorded - np.log(np.exp(recorded).sum(-1, keepdims=True))
    losses = -recorded[np.arange(len(recorded)), tokens[0, 1:]]
    lengths = [tokens.shape[1], 9, 2]
    x = np.where(np.arange(tokens.shape[1]) < np.array(lengths)[:, None], tokens, 63)
    np.savez(tmp_path / "t.npz", x=x, lengths=lengths)
    report = last.evaluate(last.load(case.directory / "checkpoint"), str(tmp_path / "t.npz"))
    sums = [losses[: length - 1].sum() for length in lengths]
    np.testing.assert_allclose(report.measured.losses, sums, rtol=1e-5)
    found = report.as_json()
    assert found["n"] == sum(lengths) - 3 and found["loss"] == pytest.approx(sum(sums) / found["n"], rel=1e-5)
    assert found["perplexity"]["byte"] is None is found["bits_per_byte"]
    assert found["digests"]["text"] is None is found["digests"]["tokenizer"]


def test_a_baseline_is_paired_by_window_and_gates_judge(directory: Path) -> None:
    from last_cli.display.eval import eval_view
    from last_cli.display.forms import text

    base, task = last.load(directory), str(directory.parent / "corpus.txt")
    worse = replace(base, changed=other(model(CASE)))
    report = last.evaluate(worse, task, window=WINDOW, baseline=base, max_increase=0.5, max_perplexity=2.0)
    alone = last.evaluate(base, task, window=WINDOW).as_json()
    found = report.as_json()
    assert found["baseline"]["perplexity"] == alone["perplexity"]
    ratio = found["perplexity"]["token"] / alone["perplexity"]["token"]
    assert found["baseline"]["increase"] == pytest.approx(ratio - 1) and found["baseline"]["increase_stderr"] > 0
    assert {gate["name"]: gate["passed"] for gate in found["gates"]} == {"max_perplexity": False, "max_increase": True}
    assert not report.passed and eval_view(report).gates[0].line.endswith("> 2 (⟦max_perplexity⟧)")
    same = last.evaluate(base, task, window=WINDOW, baseline=base, max_increase=0.0)
    assert same.passed and same.as_json()["baseline"]["increase"] == 0
    shown = text(eval_view(report), "md")
    assert "perplexity/byte" in shown and "difference (paired)" in shown and "accuracy" not in shown
    assert "20 tokens in 3 windows of at most 8" in eval_view(report).lines[0]
    assert "baseline_perplexity_token" in text(eval_view(report), "csv")


def test_a_baseline_with_other_tokens_is_refused(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, task = last.load(directory), str(tmp_path / "corpus.txt")
    other = shutil.copytree(directory, tmp_path / "other")
    (other / "tokenizer.json").write_text("words ")
    with pytest.raises(UsageError, match=r"baseline=.*other.* has another tokenizer than .*losses by token do not"):
        last.evaluate(base, task, window=WINDOW, baseline=other)
    # Another file that says the same.
    monkeypatch.setattr(Words, "first", 0)
    assert last.evaluate(base, task, window=WINDOW, baseline=other, max_increase=0.0).passed
    (other / "tokenizer.json").unlink()
    report = last.evaluate(base, task, window=WINDOW, baseline=other)
    assert any("baseline: " in line and "has no tokenizer" in line for line in report.warnings)
    np.savez(tmp_path / "t.npz", x=[[1, 2, 3]])
    with pytest.raises(UsageError, match=r"has a vocabulary of 32,000 tokens, and .* one of 64: losses by token"):
        last.evaluate(base, str(tmp_path / "t.npz"), baseline=wider(base))


def wider(base: last.Checkpoint) -> last.Checkpoint:
    """The model with more tokens, none of which the text has."""
    key = ("backbone", "embeddings", "weight")
    leaf = replace(base.leaves[key], shape=(32_000, 32))
    return replace(base, leaves={**base.leaves, key: leaf})


def test_what_does_not_fit_a_language_model_is_refused(directory: Path, tmp_path: Path) -> None:
    base, task = last.load(directory), str(tmp_path / "corpus.txt")
    np.savez(tmp_path / "classes.npz", x=[[1, 2]], y=[0])
    np.savez(tmp_path / "large.npz", x=[[1, 64]])
    with pytest.raises(DataError, match="the model is a language model, but the task asks for classes"):
        last.evaluate(base, str(tmp_path / "classes.npz"))
    with pytest.raises(DataError, match="the encoder takes 64 inputs but the task has 65 tokens"):
        last.evaluate(base, str(tmp_path / "large.npz"))
    with pytest.raises(
        UsageError, match=r"min_accuracy is for tasks measured by accuracy, and .* is measured by perplexity"
    ):
        last.evaluate(base, task, min_accuracy=0.5)
    with pytest.raises(UsageError, match="max_drop is for tasks measured by accuracy"):
        last.evaluate(base, task, baseline=base, max_drop=0.5)
    with pytest.raises(UsageError, match=r"precision is 'bfloat16' on a CPU, .*expected float32"):
        last.evaluate(base, task, window=WINDOW, precision="bfloat16")


def test_logits_that_are_not_finite_are_counted(directory: Path) -> None:
    broken = other(model(CASE))
    next(iter(broken.values()))[2] = np.nan
    base = replace(last.load(directory), changed=broken)
    with pytest.raises(CheckpointError, match=r"the logits of \d of 3 sequences are not finite.*embeddings/weight"):
        last.evaluate(base, str(directory.parent / "corpus.txt"), window=WINDOW)


def test_a_model_that_no_network_runs_is_named_with_those_that_run(directory: Path) -> None:
    config = (directory / "config.json").read_text()
    (directory / "config.json").write_text(config.replace('"mamba2"', '"nemotron_h"'))
    with pytest.raises(CheckpointError, match="no network of ours runs the model type 'nemotron_h'; it runs mamba2, "):
        last.evaluate(last.load(directory), str(directory.parent / "corpus.txt"))
