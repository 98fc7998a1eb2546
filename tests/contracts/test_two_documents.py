"""Models that compare two documents: what is measured of both, its derivatives, and the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import Run
from data_files import pairs
from random_layers import KINDS, as_layer, build_system, classifier, write
from random_networks import check_derivatives, two_towers

import last_cli as last
from last_cli.base.errors import DataError
from last_cli.checkpoint.network import build_model
from last_cli.evaluation import inputs
from last_cli.evaluation.inputs import Inputs
from last_cli.families.lti.network.documents import paired
from last_cli.families.lti.system import System
from last_cli.formats import Key
from last_cli.pruning.calibration import measurements as network
from last_cli.pruning.calibration import observe, request
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.calibration.request import from_file, from_task
from last_cli.pruning.moments import readout_matrix
from last_cli.pruning.reconstruct.fit import fit_of

LENGTH = 12
STAMP = {"task": {"name": "retrieval", "length": LENGTH, "vocabulary": ["<pad>", "<unk>", "<eos>", *"abcd"]}}

FEW = 32

both_families = pytest.mark.parametrize("kind", ["s5-two-directions", "s4d"])


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none are asked for."""
    for module in (observe, request):
        monkeypatch.setattr(module, "SEQUENCES", FEW)


def documents(count: int = 6, length: int = LENGTH) -> Inputs:
    rng = np.random.default_rng(0)
    x = rng.integers(7, size=(count, 2, length), dtype=np.int32)
    return Inputs(x, rng.integers(1, length + 1, (count, 2), dtype=np.int32), {"test": 1})


def opened(path: Path, kind: str = "s5-two-directions", blocks: int = 2, stamp: dict | None = None) -> last.Checkpoint:
    return last.load(write(path, two_towers(0, kind, blocks), stamp))


def signs_of(count: int) -> np.ndarray:
    """The random signs of `network.measurements`, centred."""
    signs = np.random.default_rng([0, 1]).choice([-1.0, 1.0], (count, 2))
    return signs - signs.mean(axis=1, keepdims=True)


def coordinates(system: System, u: np.ndarray) -> np.ndarray:
    """f (length, G, d) of one document, one step after the other in float64."""
    driven = np.einsum("gnm,lgm->lgn", system.B, u.reshape(len(u), len(system.lam), -1))
    parts = []
    for direction in range(len(system.C)):
        x, seen = np.zeros(system.lam.shape, np.complex128), np.zeros(driven.shape, np.complex128)
        for t in range(len(u))[:: -1 if direction else 1]:
            before, x = x, system.lam * x + driven[t]
            seen[t] = before if direction and system.backward_lag else x
        parts += [np.real(seen), np.imag(seen)]
    return np.stack(parts, axis=-1).reshape(*driven.shape[:2], -1)


def by_hand(arrays: dict[Key, np.ndarray], system: System, x: Inputs) -> dict[str, np.ndarray]:
    """What one block's Measurement should be: states document by document, slopes by JAX of the head alone."""
    leaf = {"/".join(key[1:]): np.asarray(a, np.float64) for key, a in arrays.items()}
    e = leaf["encoder/encoder/kernel"][x.x] + leaf["encoder/encoder/bias"]
    u = (e - e.mean(axis=-1, keepdims=True)) / np.sqrt(e.var(axis=-1, keepdims=True) + 1e-6)
    u = u * leaf["encoder/layers_0/norm/scale"] + leaf["encoder/layers_0/norm/bias"]
    W = readout_matrix(system)
    f = np.stack([np.stack([coordinates(system, one) for one in sample]) for sample in u])
    y = np.einsum("gkd,nclgd->nclgk", W, f).reshape(u.shape) + system.D * u
    assert x.lengths is not None
    lengths = x.lengths[..., None]
    inside = (np.arange(LENGTH) < lengths)[..., None]

    def head(y: jax.Array) -> jax.Array:
        pooled = jnp.where(inside, e + jax.nn.gelu(y), 0).sum(axis=2) / lengths
        hidden = paired(pooled.reshape(-1, 4)) @ leaf["decoder/layer1/kernel"] + leaf["decoder/layer1/bias"]
        logits = jax.nn.gelu(hidden) @ leaf["decoder/layer2/kernel"] + leaf["decoder/layer2/bias"]
        return jax.nn.log_softmax(logits)

    _, pull = jax.vjp(head, jnp.asarray(y, jnp.float32))
    g = np.asarray(pull(jnp.asarray(signs_of(len(x.x)), jnp.float32))[0], np.float64)
    weight = np.square(g).sum(axis=-1)
    g = g.reshape(*g.shape[:3], len(W), -1)
    return {
        "moments": np.einsum("nclgd,nclge->gde", f, f) / weight.size,
        "weighted": np.einsum("ncl,nclgd,nclge->gde", weight, f, f) / weight.sum(),
        "metric": np.einsum("nclgj,nclgk->gjk", g, g) / weight.size,
    }


@both_families
def test_moments_and_slopes_are_those_of_both_documents(kind: str, tmp_path: Path) -> None:
    arrays, x = two_towers(0, kind), documents()
    ck = last.load(write(tmp_path / "ckpt", arrays))
    seq = {key[-1]: a for key, a in arrays.items() if key[-2] == "seq"}
    found = network.measurements(ck, x)[ck.layers[0].name]
    for name, wanted in by_hand(arrays, build_system(as_layer(seq), seq, KINDS[kind].config), x).items():
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


@both_families
def test_a_gate_acts_in_both_documents(kind: str, tmp_path: Path) -> None:
    """Against derivatives by a factor on each state's C, which the model itself reads."""
    ck, x = opened(tmp_path / "ckpt", kind), documents()
    model, variables = build_model(ck)
    readouts = ("C",) if kind == "s4d" else ("C1", "C2")

    def answers(gates: list[jax.Array]) -> jax.Array:
        params = jax.tree.map(lambda leaf: leaf, variables["params"])
        for i, gate in enumerate(gates):
            seq = params["encoder"][f"layers_{i}"]["seq"]
            factor = gate.T[..., None] if kind == "s4d" else gate[..., None]
            seq |= {name: seq[name] * factor for name in readouts}
        return (model.apply({"params": params}, x.x, x.lengths) * signs_of(len(x.x))).sum(axis=1)

    ones = [jnp.ones(ck.system(layer).lam.shape) for layer in ck.layers]
    measured = network.measurements(ck, x)
    for layer, slopes in zip(ck.layers, jax.jit(jax.jacrev(answers))(ones), strict=True):
        wanted = np.square(np.asarray(slopes)).mean(axis=0)
        np.testing.assert_allclose(measured[layer.name].sensitivity, wanted, rtol=1e-3, atol=1e-4 * wanted.max())


@both_families
def test_derivatives_reach_both_documents(kind: str, tmp_path: Path) -> None:
    check_derivatives(fit_of(Observation(opened(tmp_path / "ckpt", kind), documents(32))))


def test_the_longest_input_is_a_documents(tmp_path: Path) -> None:
    fit = fit_of(Observation(opened(tmp_path / "ckpt"), documents()))
    assert fit.settings["white_horizon"] == 8 * LENGTH


def test_random_documents_are_of_the_trained_kind(tmp_path: Path) -> None:
    ck = opened(tmp_path / "ckpt", stamp=STAMP)
    x = inputs.random(ck, 50)
    assert x.x.shape == (50, 2, LENGTH) and x.lengths is None and set(np.unique(x.x)) == set(range(7))
    assert (x.samples, x.documents, x.length) == ((50, 2), 2, LENGTH)
    bare = replace(ck, stamp={})
    assert inputs.random(bare, 3, length=5).x.shape == (3, 2, 5), "the head takes tokens alone"


@both_families
@pytest.mark.parametrize("options", [(), ("--refit",), ("--criterion", "gn"), ("--criterion", "gn", "--refit")])
def test_a_file_of_documents_calibrates(kind: str, options: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    opened(tmp_path / "ckpt", kind)
    x = documents(24)
    assert x.lengths is not None
    np.savez(tmp_path / "some.npz", x=x.x, lengths=x.lengths)
    how = options or ("--method", "reconstruct")
    code, out, err = run(
        "prune", "ckpt", *how, "--ratio", "0.5", "--calibration-file", "some.npz", "-o", "out", "--format", "json"
    )
    assert code == 0, err
    assert json.loads(out)["states"]["after"] <= json.loads(out)["states"]["before"] / 2
    small, x = last.load("out"), from_file("some.npz")
    assert small.stamp["pruned"][-1]["calibration"]["digest"] == x.digest
    assert np.isfinite(network.logits(small, x)).all()


def test_without_data_two_random_documents_do(run: Run, tmp_path: Path) -> None:
    opened(tmp_path / "ckpt", stamp=STAMP)
    code, _, err = run("prune", "ckpt", "--method", "reconstruct", "--ratio", "0.3", "-o", "out")
    assert code == 0, err
    said = last.load("out").stamp["pruned"][-1]["calibration"]
    assert (said["random"], said["length"], said["sequences"]) == ("tokens", LENGTH, FEW)


@pytest.mark.parametrize(
    "budget, name",
    [(("--max-error", "0.05"), "error"), (("--max-drop", "0", "--estimate", "--data-dir", "data"), "drop")],
)
def test_a_budget_is_searched(budget: tuple[str, ...], name: str, run: Run, tmp_path: Path) -> None:
    opened(tmp_path / "ckpt", blocks=1, stamp=STAMP)
    pairs(tmp_path / "data")
    code, _, err = run("prune", "ckpt", "--method", "reconstruct", *budget, "--assume", "-o", "out")
    assert code == 0, err
    search = last.load("out").stamp["pruned"][-1]["search"]
    assert all(point["within"] == (point[name] <= float(budget[1])) for point in search["points"])
    assert search["chosen"] == max(point["ratio"] for point in search["points"] if point["within"])


def test_the_tasks_own_pairs_calibrate(tmp_path: Path) -> None:
    ck = opened(tmp_path / "ckpt", stamp=STAMP)
    x = from_task(ck, "retrieval", 8, split="train", data_dir=pairs(tmp_path / "data"))
    assert x.lengths is not None and x.x.shape == (2, 2, LENGTH) and x.lengths.tolist() == [[4, 4], [3, 2]]
    assert all(np.isfinite(one.weighted).all() for one in network.measurements(ck, x).values())


@pytest.mark.parametrize(
    "x, said",
    [
        (np.zeros((4, 9), int), r"shape \(4, 9\), but the model takes two documents per sample: .* \(n, 2, length\)"),
        (np.zeros((4, 2, 9)), r"float32 of shape \(4, 2, 9\), but the model takes two documents"),
        (np.full((4, 2, 9), 7), r"tokens 7 to 7, but the encoder takes 7 tokens"),
        (np.full((4, 2, 9), -1), r"tokens -1 to -1, but"),
        (np.zeros((4, 3, 9), int), r"x is int64 of shape \(4, 3, 9\), lengths \(\)"),
    ],
)
def test_what_a_comparing_model_does_not_take(x: np.ndarray, said: str, tmp_path: Path) -> None:
    ck, file = opened(tmp_path / "ckpt"), tmp_path / "file.npz"
    np.savez(file, x=x)
    with pytest.raises(DataError, match=rf"{file}: .*{said}") as error:
        last.prune(ck, 0.5, method="reconstruct", calibration_file=file)
    assert "(n, 2, length)" in error.value.hint or "encoder" in error.value.message


def test_what_a_model_of_one_sequence_does_not_take(tmp_path: Path) -> None:
    ck, file = last.load(write(tmp_path / "ckpt", classifier())), tmp_path / "file.npz"
    for x, said in ((documents().x, "takes one sequence per sample"), (np.zeros((4, 9, 3)), "3 features per step")):
        np.savez(file, x=x)
        with pytest.raises(DataError, match=said):
            last.prune(ck, 0.5, "gn", calibration_file=file)
    np.savez(file, x=documents().x, lengths=np.ones(6, int))
    with pytest.raises(DataError, match=r"lengths \(6,\)"):
        last.prune(ck, 0.5, "gn", calibration_file=file)
