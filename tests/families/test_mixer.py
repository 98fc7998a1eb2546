"""Our network of Mamba-2 language models gives the logits of the libraries that wrote them, pruned ones too."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from language_models import Model, model

from last_cli import formats
from last_cli.base.errors import CheckpointError
from last_cli.families.front import Front
from last_cli.families.mamba2.dialect import Settings
from last_cli.families.mamba2.mixer import mixer
from last_cli.families.mamba2.network.forward import logits
from last_cli.families.mamba2.network.spec import LanguageSpec, language_spec
from last_cli.families.mamba2.network.ssd import ssd
from last_cli.families.mamba2.norms import magnitudes, mean_squares, state_energies
from last_cli.families.mamba2.targets import NORM, own_group, segments, units
from last_cli.families.resizing import Rescale
from last_cli.families.target import cut_shape, take, zero

NAMES = ["bamba", "granite_dense", "ssm_mlp", "llamba_base"]  # others: PRUNED
PRUNED = [
    ("hf_groups", "heads50"),
    ("hf_bias_noconvbias", "headdims50"),
    ("ssm_groups_eq_heads", "heads50"),
    ("phi_mva", "states_ragged"),
    ("mil_base", "states_ragged"),
    ("falcon_h1_norm", "states_ragged"),
]
TARGETS = {"states_ragged": "states", "heads50": "heads", "headdims50": "channels"}


def run(spec: LanguageSpec, case: Model, tensors: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(jax.jit(lambda t, x: logits(spec, t, x, 16))(tensors, case.recorded["tokens"]))


def close(found: np.ndarray, case: Model, name: str = "logits") -> bool:
    return float(np.abs(found - case.recorded[name]).max()) <= 1e-5 * float(case.recorded["scale"])


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_the_library(name: str) -> None:
    case = model(name)
    assert close(run(case.spec, case, dict(case.tensors)), case)


@pytest.mark.parametrize(("name", "pruning"), PRUNED)
def test_whole_masked_and_compacted_give_what_the_library_gives(name: str, pruning: str) -> None:
    case, target = model(name), TARGETS[pruning]
    masked, compact, blocks = dict(case.tensors), dict(case.tensors), {}
    for number, block, prefix, own in case.mixers():
        assert block.sizes is not None
        (groups, count), shapes = units(block.sizes, target), {n: a.shape for n, a in own.items()}
        kept = np.asarray(case.recorded[f"{pruning}/layer{number}"], int)
        kept = (
            kept
            if target != "heads"
            else np.array([[h % count for h in kept if h // count == g] for g in range(groups)])
        )
        removed = np.ones((groups, count), bool)
        np.put_along_axis(removed, kept, False, axis=1)
        for leaf, owned in segments(block.sizes, target, shapes).items():
            masked[prefix + leaf] = zero(own[leaf], owned, removed)
            compact[prefix + leaf] = take(own[leaf], owned, kept, count)
            assert compact[prefix + leaf].shape == cut_shape(shapes[leaf], owned, (groups, count), kept.shape[1])
        said = block.sizes.settings
        if target == "heads" and own_group(block.sizes):
            said = replace(said, groups=kept.size)
        elif target != "states" and NORM in own and not said.norm_by_head:
            ratio = own[NORM].size / compact[prefix + NORM].size
            compact[prefix + NORM] = Rescale(ratio**0.5).apply(compact[prefix + NORM])
            said = replace(said, eps=said.eps * ratio)
        cut = {n.removeprefix(prefix): a.shape for n, a in compact.items() if n.startswith(prefix)}
        blocks[block.prefix] = replace(block, sizes=mixer(cut, said))
    spec = replace(case.spec, blocks=tuple(blocks.get(block.prefix, block) for block in case.spec.blocks))
    whole = jax.jit(lambda tensors, tokens: logits(case.spec, tensors, tokens, 16))
    dense, without = (np.asarray(whole(t, case.recorded["tokens"])) for t in (dict(case.tensors), masked))
    assert close(dense, case) and close(without, case, f"{pruning}/logits")
    assert close(run(spec, case, compact), case, f"{pruning}/logits")


@pytest.mark.parametrize("name", ["hf_groups", "phi_mva", "mil_base", "llamba_base"])
def test_magnitudes_pair_the_rows_of_b_and_c(name: str) -> None:
    case = model(name)
    for number, block, _, own in case.mixers():
        assert block.sizes is not None
        np.testing.assert_allclose(magnitudes(block.sizes, own), case.recorded[f"magnitude/layer{number}"], rtol=1e-6)


@pytest.mark.parametrize("name", ["hf_groups", "phi_mva", "mil_base", "falcon_h1_norm"])
def test_energies_are_finite_and_follow_a_permutation_of_the_states(name: str) -> None:
    case = model(name)
    for _, block, _, own in case.mixers():
        sizes = block.sizes
        assert sizes is not None
        weight = case.tensors[f"{block.prefix}.{block.norm}.weight"]
        front = Front(weight, np.zeros_like(weight))
        energies = state_energies(sizes, own, front)
        assert energies.shape == (sizes.groups, sizes.states) and np.isfinite(energies).all() and (energies > 0).all()
        order = np.tile(np.arange(sizes.states)[::-1], (sizes.groups, 1))
        owned = segments(sizes, "states", {n: a.shape for n, a in own.items()})
        turned = {n: take(a, owned[n], order, sizes.states) if n in owned else a for n, a in own.items()}
        np.testing.assert_allclose(state_energies(sizes, turned, front), energies[:, ::-1], rtol=1e-12)


def test_mean_squares_are_those_of_simulated_inputs() -> None:
    case = model("hf_base")
    _, block, prefix, own = next(case.mixers())
    assert block.sizes is not None
    weight = case.tensors[f"{block.prefix}.{block.norm}.weight"]
    bias = np.random.default_rng(1).normal(size=len(weight)) / 2
    arrays = {name: array.astype(float) for name, array in own.items()}
    u = np.random.default_rng(0).standard_normal((40_000, len(weight)))
    u = u * weight / np.sqrt(np.mean(u**2, axis=1, keepdims=True)) + bias
    start, end = block.sizes.rows["B"]
    rows, taps = (
        u @ arrays["in_proj.weight"][start:end].T,
        arrays["conv1d.weight"][slice(*block.sizes.conv_rows["B"]), 0],
    )
    rows = sum(rows[k : len(rows) - 3 + k] * taps[:, k] for k in range(4))
    rows = rows + arrays["conv1d.bias"][slice(*block.sizes.conv_rows["B"])]
    found = np.mean((rows / (1 + np.exp(-rows))) ** 2, axis=0)
    np.testing.assert_allclose(mean_squares(block.sizes, arrays, Front(weight, bias), "B"), found, rtol=0.05)
    assert prefix


def test_the_length_of_a_chunk_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    x, b, c = (jnp.asarray(rng.standard_normal((2, 37, *size)), jnp.float32) for size in ((4, 3), (2, 5), (2, 5)))
    decay = -jnp.asarray(rng.random((2, 37, 4)), jnp.float32)
    one, other = (np.asarray(jax.jit(ssd, static_argnums=4)(x, decay, b, c, chunk)) for chunk in (5, 64))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_parts_that_no_network_runs_are_named() -> None:
    case = model("bamba")
    shapes = {name: array.shape for name, array in case.tensors.items()}
    files = formats.index(case.directory / "checkpoint").config
    experts = {**shapes, "model.layers.0.block_sparse_moe.router.weight": (4, 32)}
    with pytest.raises(CheckpointError, match=r"model\.layers\.0\.block_sparse_moe: no part of a layer"):
        language_spec(experts, files)
    other = {"file:config.json": {**files["file:config.json"], "model_type": "nemotron_h"}}
    with pytest.raises(CheckpointError, match="no network of ours runs the model type 'nemotron_h'"):
        language_spec(shapes, other)
    with pytest.raises(CheckpointError, match="names the model type 'gpt2', expected one of"):
        language_spec(shapes, {"file:config.json": {"model_type": "gpt2"}})


def test_a_mixer_of_another_kind_than_the_files_say() -> None:
    shapes = {"D": (4,), "in_proj.weight": (84, 8), "conv1d.weight": (48, 1, 4), "out_proj.weight": (8, 32)}
    with pytest.raises(CheckpointError, match="no A_log, which a mixer of mamba2 has"):
        mixer(shapes, Settings("mamba2"))
