"""Trees as training code makes them: NNX states, optimizers beside models, stacked and replicated layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from random_layers import classifier, s4d_arrays, s4d_pairs_arrays, s5_arrays, write

import last_cli as last
from last_cli.base.errors import CheckpointError


class Layer(nnx.Module):
    def __init__(self, seed: int) -> None:
        for name, array in s5_arrays(np.random.default_rng(seed)).items():
            setattr(self, name, nnx.Param(jnp.asarray(array)))


class Model(nnx.Module):
    def __init__(self) -> None:
        self.layers = nnx.List([Layer(0), Layer(1)])
        self.norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))


def saved(path: Path, tree: Any) -> last.Checkpoint:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)
    return last.load(path)


def test_nnx_states_and_their_optimizer_shrink_together(tmp_path: Path) -> None:
    model = Model()
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    ck = saved(tmp_path / "ckpt", {"model": nnx.state(model), "optimizer": nnx.state(optimizer)})
    assert [(layer.name, layer.sizes.states) for layer in ck.layers] == [("model/layers/0", 6), ("model/layers/1", 6)]
    last.save(last.prune(ck, 0.5, scope="layer"), tmp_path / "pruned")
    pruned = last.load(tmp_path / "pruned")
    assert last.verify(pruned, ck).passed
    for layer in pruned.layers:
        for name, key in layer.leaves.items():
            for moment in ("mu", "nu"):
                copy = ("optimizer", "opt_state", "0", moment, *key[1:-2], name, "value")
                assert pruned.leaves[copy].shape == pruned.leaves[key].shape
    with ocp.StandardCheckpointer() as checkpointer:
        assert checkpointer.restore(tmp_path / "pruned")["model"]["layers"]["0"]["B"]["value"].shape == (3, 4, 2)


@pytest.mark.parametrize("nest", [("model",), ("model", "params"), ("state", "network")])
def test_moments_beside_the_model_are_cut_along(nest: tuple[str, ...], tmp_path: Path) -> None:
    own = {(*nest, *key[1:]): array for key, array in classifier().items()}
    copies = {("optimizer", "mu", *key[1:]): array for key, array in classifier().items()}
    small = last.prune(last.load(write(tmp_path / "ckpt", own | copies)), 0.5)
    assert small.report is not None and small.report.sliced_copies == 12
    for key, array in small.read(copies).items():
        np.testing.assert_array_equal(array, small.read([(*nest, *key[2:])])[(*nest, *key[2:])])


def test_a_moment_that_may_be_of_two_models_is_refused(tmp_path: Path) -> None:
    arrays = {(model, *key): a for model in ("one", "two") for key, a in classifier(seed=len(model)).items()}
    arrays |= {("mu", *key[1:]): array for key, array in classifier().items()}
    with pytest.raises(
        CheckpointError, match=r"mu/encoder/.*: may follow layer one/params/encoder/layers_0/seq or two/"
    ):
        last.prune(last.load(write(tmp_path / "ckpt", arrays)), 0.5)


@pytest.mark.parametrize("make", [s5_arrays, s4d_arrays, s4d_pairs_arrays])
@pytest.mark.parametrize("times", [1, 2, 4, 8])
def test_layers_stacked_or_replicated_are_refused_with_the_reason(make: Any, times: int, tmp_path: Path) -> None:
    layer = make(np.random.default_rng(0), states=times, features=times)
    arrays = {("params", "layers", "seq", name): np.stack([array] * times) for name, array in layer.items()}
    with pytest.raises(CheckpointError, match=r"layers/seq: .* has shape") as caught:
        last.load(write(tmp_path / "ckpt", arrays))
    assert f"all its leaves have one more axis, of {times}: " in caught.value.hint
