"""What other rooms rely on of a network, whichever it is, and how a checkpoint's layers tell theirs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_layers import write, written
from random_networks import features, two_towers

import last_cli as last
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.network import build_model, model_spec, network_of, read_variables, systems_of
from last_cli.families.find import Layer
from last_cli.families.lti.network.classifier import CLASSIFIER
from last_cli.families.network import check_precision, shared_network
from last_cli.pruning.moments import readout_matrix

kinds = pytest.mark.parametrize("kind", ["s5-two-directions", "s4d", "s4d-pairs-two-directions", "two documents"])


def opened(kind: str, path: Path) -> tuple[last.Checkpoint, np.ndarray, np.ndarray]:
    """A checkpoint, and sequences with their lengths."""
    if kind != "two documents":
        return written(path / "ckpt", kind), features(3, 9).x, np.array([9, 4, 7])
    x = np.random.default_rng(0).integers(7, size=(3, 2, 9), dtype=np.int32)
    return last.load(write(path / "ckpt", two_towers(0, blocks=2))), x, np.full((3, 2), 9)


def of_networks(ck: last.Checkpoint, *networks: str | None) -> list[Layer]:
    rows = zip(ck.layers, networks, strict=True)
    return [replace(layer, family=replace(layer.family, network=name)) for layer, name in rows]


def test_layers_of_all_families_share_the_classifier(tmp_path: Path) -> None:
    layers = [written(tmp_path / kind, kind).layers[0] for kind in ("s5-two-directions", "s4d", "s4d-pairs")]
    assert shared_network(layers) is CLASSIFIER


def test_layers_without_a_network_or_of_different_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "elsewhere", SimpleNamespace(OTHER=replace(CLASSIFIER, name="other")))
    ck = written(tmp_path / "ckpt")
    own = ck.layers[0].family.network
    first, second = (layer.name for layer in ck.layers)
    without = of_networks(ck, own, None)
    with pytest.raises(CheckpointError, match=f"{second}: the family 's5' has no network"):
        shared_network(without)
    with pytest.raises(CheckpointError, match=f"{first} .* 'classifier' but {second} one of 'other'"):
        shared_network(of_networks(ck, own, "elsewhere:OTHER"))
    for run in (model_spec, build_model, read_variables):
        with pytest.raises(CheckpointError, match=f"{ck.source.path}: {second}: .* no network"):
            run(replace(ck, layers=tuple(without)))


@kinds
def test_the_forward_pass_the_taps_and_the_module_give_the_same_logits(kind: str, tmp_path: Path) -> None:
    ck, x, lengths = opened(kind, tmp_path)
    network, spec = network_of(ck), model_spec(ck)
    module, variables = build_model(ck)
    wanted = np.asarray(module.apply(variables, x, lengths))
    assert wanted.shape == (len(x), spec.d_output)
    params = network.fold(spec, read_variables(ck), systems_of(ck), 9, "float32")
    found = jax.jit(lambda params, x, lengths: network.forward(spec, params, x, lengths, "cpu"))(params, x, lengths)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    watch = network.watch(spec)
    ready = watch.variables(variables, systems_of(ck), 9)
    np.testing.assert_allclose(watch.logits(ready, x, lengths), wanted, atol=1e-4)
    tapped, seen = watch.taps(ready, x, lengths, watch.perturbations(x))
    np.testing.assert_allclose(tapped, wanted, atol=1e-4)
    assert list(seen) == [layer.name for layer in ck.layers]


@kinds
def test_outputs_are_those_of_the_states_and_of_what_perturbs_them(kind: str, tmp_path: Path) -> None:
    """A layer whose outputs, as its states and feedthrough say, are taken away is one whose C and D are zero."""
    ck, x, lengths = opened(kind, tmp_path)
    watch, systems = network_of(ck).watch(model_spec(ck)), systems_of(ck)
    ready = watch.variables(build_model(ck)[1], systems, 9)
    nothing = watch.perturbations(x)
    assert nothing.keys() == systems.keys() and not any(np.asarray(one).any() for one in nothing.values())
    _, seen = watch.taps(ready, x, lengths, nothing)
    name = ck.layers[-1].name
    system, u = systems[name], seen[name]
    assert u.shape == nothing[name].shape == (x.shape[0] * (2 if kind == "two documents" else 1), 9, 4)
    y = jnp.einsum("gkd,blgd->blgk", readout_matrix(system), watch.states(system, u)).reshape(u.shape) + system.D * u
    silent = {**systems, name: replace(system, C=0 * system.C, D=0 * system.D)}
    wanted = watch.logits(watch.variables(ready, silent, 9), x, lengths)
    found, _ = watch.taps(ready, x, lengths, nothing | {name: -y})
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.abs(np.asarray(found) - np.asarray(watch.logits(ready, x, lengths))).max() > 1e-2


def test_the_loss_is_the_cross_entropy() -> None:
    outputs = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(CLASSIFIER.loss(outputs, np.array([1, 2])), [np.log(4), -np.log(0.8)])


def test_other_precisions_are_refused() -> None:
    check_precision("bfloat16")
    with pytest.raises(UsageError, match="precision is 'float16', expected float32 or bfloat16"):
        check_precision("float16")
