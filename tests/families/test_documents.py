"""Samples of two documents: the head of the retrieval task, against plain numpy, and through `last eval`."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
from commands import Run
from data_files import pairs
from random_layers import KINDS, as_layer, build_system, simulate, write
from random_networks import built, two_towers

from last_cli.families.lti.network.forward import forward
from last_cli.families.lti.network.module import Classifier
from last_cli.formats import Key
from last_cli.tasks.find import find

TOKENS = np.random.default_rng(0).integers(6, size=(3, 2, 20)).astype(np.int32)
LENGTHS = np.array([[20, 7], [1, 12], [9, 9]], np.int32)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def by_hand(arrays: dict[Key, np.ndarray], tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Log-probabilities in float64, one document and one time step after the other."""
    seq = {key[-1]: a for key, a in arrays.items() if key[-2] == "seq"}
    system = build_system(as_layer(seq), seq, KINDS["s5-two-directions"].config)
    leaf = {"/".join(key[1:]): np.asarray(a, np.float64) for key, a in arrays.items()}

    def document(tokens: np.ndarray, length: int) -> np.ndarray:
        x = leaf["encoder/encoder/kernel"][tokens] + leaf["encoder/encoder/bias"]
        u = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-6)
        u = u * leaf["encoder/layers_0/norm/scale"] + leaf["encoder/layers_0/norm/bias"]
        return (x + gelu(simulate(system, u)))[:length].mean(axis=0)

    answers = []
    for sample, counts in zip(tokens, lengths, strict=True):
        one, other = (document(*each) for each in zip(sample, counts, strict=True))
        features = np.concatenate([one, other, one - other, one * other])
        hidden = gelu(features @ leaf["decoder/layer1/kernel"] + leaf["decoder/layer1/bias"])
        logits = hidden @ leaf["decoder/layer2/kernel"] + leaf["decoder/layer2/bias"]
        answers.append(logits - np.log(np.exp(logits).sum()))
    return np.array(answers)


def test_the_module_and_the_engine_equal_plain_numpy() -> None:
    arrays = two_towers()
    spec, variables, params = built(arrays, "s5-two-directions", TOKENS.shape[-1])
    wanted = by_hand(arrays, TOKENS, LENGTHS)
    module = jax.jit(Classifier(spec).apply)(variables, TOKENS, LENGTHS)
    engine = jax.jit(lambda params, x, n: forward(spec, params, x, n))(params, TOKENS, LENGTHS)
    for found in (module, engine):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_eval_of_the_retrieval_task(run: Run, tmp_path: Path) -> None:
    arrays = two_towers()
    folder = pairs(tmp_path / "data")
    path = write(tmp_path / "ckpt", arrays)
    code, out, err = run("eval", path, "--task", "retrieval", "--data-dir", folder, "--format", "json")
    assert code == 0, err
    split = find("retrieval").load(data_dir=folder)
    assert split.lengths is not None
    answers = by_hand(arrays, split.x[:], split.lengths)
    report = json.loads(out)
    assert report["n"] == 3
    np.testing.assert_allclose(report["loss"], -answers[np.arange(3), split.y].mean(), rtol=1e-5)
    assert report["accuracy"] == (answers.argmax(axis=1) == split.y).mean()


def test_a_task_of_one_sequence_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = run("eval", write(tmp_path / "ckpt", two_towers()), "--task", "listops", "--limit", "2")
    assert code == 2 and "the model takes two sequences a sample but the task has 1" in err


def test_pairs_are_timed(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "ckpt", two_towers())
    code, out, err = run("bench", path, "--length", "10", "--batch", "3", "--repeat", "1", "--format", "json")
    assert code == 0, err
    assert json.loads(out)["results"][0]["sequences_per_second"] > 0
