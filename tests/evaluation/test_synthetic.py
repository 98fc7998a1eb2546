"""Sequences made from what a checkpoint's batch norm remembers, against the data that it was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import last_cli as last
from last_cli.display.prune import prune_view
from last_cli.evaluation import synthetic
from last_cli.tasks.find import find

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"


@pytest.mark.parametrize("name", ["s5-listops", "s4d-listops"])
def test_the_frequencies_of_tokens_are_those_of_the_data(name: str) -> None:
    ck = last.load(SAMPLES / name)
    task = dict(ck.stamp["task"])
    data = find("listops").load("val", settings=task)
    x = np.asarray(data.x[:])
    found = synthetic.frequencies(ck)
    assert found is not None
    np.testing.assert_allclose(found, np.bincount(x.ravel(), minlength=len(found)) / x.size, atol=0.005)


def test_mean_and_spread_of_features_are_those_of_the_data() -> None:
    ck = last.load(SAMPLES / "s5-digits")
    x = np.asarray(find("digits").load("train").x[:])
    found = synthetic.mean_and_spread(ck)
    assert found is not None
    np.testing.assert_allclose(np.concatenate(found), [x.mean(), x.std()], rtol=0.01)
    made = synthetic.sequences(ck, 64)
    assert made.lengths is None and made.x.shape == (64, 64, 1)
    np.testing.assert_allclose([made.x.mean(), made.x.std()], [x.mean(), x.std()], rtol=0.05)


def test_padded_sequences_vary_in_length_about_the_trained_one() -> None:
    ck = last.load(SAMPLES / "s5-listops")
    made, length = synthetic.sequences(ck, 200), ck.stamp["task"]["length"]
    assert made.lengths is not None and made.x.shape == (200, 2 * length)
    assert (made.lengths >= np.floor(0.3 * length)).all() and (made.lengths <= 2 * length).all()
    assert (made.lengths > length).any() and (made.lengths < length / 2).any()
    inside = np.arange(made.x.shape[1]) < made.lengths[:, None]
    assert (made.x[~inside] == 0).all() and (made.x[inside] != 0).all()
    assert made.digest == synthetic.sequences(ck, 200).digest != synthetic.sequences(ck, 200, seed=1).digest


@pytest.mark.parametrize("change", [{"prenorm": False}, {}])
def test_without_a_trained_batch_norm_in_front_inputs_are_uniform(change: dict[str, bool]) -> None:
    ck = last.load(SAMPLES / "s5-listops")
    if change:
        ck = replace(ck, config=replace(ck.config, **change))
    else:  # statistics that no tokens can have
        keys = [key for key in ck.leaves if key[-2:] == ("norm", "mean")]
        ck = replace(ck, changed={key: np.arange(64, dtype=np.float32) for key in keys})
    assert synthetic.frequencies(ck) is None
    made = synthetic.sequences(ck, 400)
    assert made.source["statistics"] == "uniform"
    counts = np.bincount(made.x[made.x > 0], minlength=20)[1:]
    np.testing.assert_allclose(counts / counts.sum(), 1 / 19, atol=0.01)


@pytest.mark.parametrize(
    ("task", "said", "between"),
    [
        ("digits", "uniform in [0, 1]", (0.0, 1.0)),
        ("pathx", "uniform in [-1, 1]", (-1.0, 1.0)),
        ("image", "normal", None),
    ],
)
def test_pixels_are_between_the_numbers_of_their_task(
    task: str, said: str, between: tuple[float, float] | None
) -> None:
    ck = last.load(SAMPLES / "s5-digits")
    ck = replace(ck, config=replace(ck.config, prenorm=False), stamp={**ck.stamp, "task": {"name": task}})
    made = synthetic.sequences(ck, 64, length=64)
    assert made.source["statistics"] == said
    if between is not None:
        np.testing.assert_allclose([made.x.min(), made.x.max()], between, atol=0.01)
        np.testing.assert_allclose(made.x.mean(), sum(between) / 2, atol=0.03)
    report = last.prune(ck, 0.5, method="reconstruct", length=64).report
    assert report is not None
    assert f"features {said if between else 'from N(0, 1)'}" in " ".join(prune_view(report).lines)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_any_frequencies_come_back_from_their_statistics(tokens: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    K, p = rng.normal(size=(tokens, 16)), rng.dirichlet(np.ones(tokens))
    mean = p @ K
    found = synthetic.fitted(K, mean, p @ (K - mean) ** 2)
    assert found is not None
    np.testing.assert_allclose(found, p, atol=1e-8)
