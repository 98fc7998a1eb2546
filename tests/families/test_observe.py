"""What the states of a language model do on text: squares, energies and Fisher sums, and nothing that padding says."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from language_models import Model, model

from last_cli.families.mamba2.dialect import MAIN
from last_cli.families.mamba2.network import forward, observe
from last_cli.families.mamba2.network.forward import drive, enter, mixer_inputs
from last_cli.families.mamba2.network.language import LANGUAGE
from last_cli.families.mamba2.network.spec import language_spec

CASE, LENGTH = "hf_groups", 12


@cache
def found(name: str) -> Any:
    """What is measured on two sequences, the second with padding and a beginning that does not count."""
    case = model(CASE)

    def run(tensors: Any, x: Any, lengths: Any, skips: Any) -> Any:
        return LANGUAGE.observed[name, "states"](case.spec, tensors, x, lengths, skips)

    return jax.jit(run)


def tokens(case: Model) -> np.ndarray:
    return case.recorded["tokens"][0, : 2 * LENGTH].reshape(2, LENGTH).astype(np.int32)


def measured(name: str, x: np.ndarray, lengths: tuple[int, int] = (LENGTH, 9), skips: tuple[int, int] = (0, 2)) -> Any:
    return found(name)(dict(model(CASE).tensors), x, np.array(lengths), np.array(skips))


def test_squares_and_energies_are_those_of_the_recurrence() -> None:
    case = model(CASE)
    x = tokens(case)
    inputs = jax.jit(lambda t, x: mixer_inputs(case.spec, t, x))(dict(case.tensors), x)
    squares, weights = measured("hinf", x)
    energies, _ = measured("energy", x)
    np.testing.assert_array_equal(weights, [LENGTH, 7])
    for _, block, prefix, tensors in case.mixers():
        sizes, name = block.sizes, prefix.rstrip(".").replace(".", "/")
        own = {part: jnp.asarray(array) for part, array in tensors.items()}
        assert sizes is not None
        parts, (u, b, c) = enter(sizes, own, inputs[prefix.rstrip(".")])
        driven, decay = (np.asarray(a, np.float64) for a in drive(sizes, own, parts, u))
        b, c = (np.asarray(a, np.float64) for a in (b, c))
        step = np.logaddexp(0, np.asarray(parts["dt"]) + own["dt_bias"]).clip(*sizes.settings.limit)
        readout = np.square(own["out_proj.weight"] * own["norm.weight"]).sum(0).reshape(sizes.heads, -1, 1)
        for row, counts in enumerate((slice(0, LENGTH), slice(2, 9))):
            got = {part: values[row] for part, values in squares[name].items()}
            np.testing.assert_allclose(got["B"], np.square(b[row, counts]).sum(0), rtol=1e-4)
            np.testing.assert_allclose(got["C"][:, 0], np.square(c[row, counts]).sum(0), rtol=1e-4)
            np.testing.assert_allclose(got["step"], step[row, counts].sum(0), rtol=1e-4)
            state, wanted = np.zeros((sizes.heads, sizes.head_dim, sizes.states)), 0.0
            each = sizes.heads // sizes.groups
            for t in range(counts.stop):
                kept, added = np.exp(decay[row, t])[:, None, None], np.repeat(b[row, t], each, 0)[:, None]
                state = state * kept + driven[row, t][..., None] * added
                if t >= counts.start:
                    wanted += (np.square(state * np.repeat(c[row, t], each, 0)[:, None]) * readout).sum(1)
            wanted = np.asarray(wanted).reshape(sizes.groups, each, -1).sum(1)
            np.testing.assert_allclose(energies[name]["energy"][row], wanted, rtol=1e-4)


def test_padding_is_neither_counted_nor_seen() -> None:
    x = tokens(model(CASE))
    other = np.where(np.arange(LENGTH) < np.array([[LENGTH], [9]]), x, 1)
    assert (other != x).any()
    for name in ("hinf", "energy", "fisher"):
        for one, two in zip(*(jax.tree.leaves(measured(name, part)) for part in (x, other)), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5)


def test_a_gradient_is_that_of_the_predictions_that_count() -> None:
    case = model(CASE)
    x = tokens(case)
    scores, weights = measured("fisher", x)
    np.testing.assert_array_equal(weights, 1)
    name = "backbone.layers.1.mixer"
    weight = f"{name}.in_proj.weight"

    def loss(own: Any, tensors: Any, x: Any) -> Any:
        return LANGUAGE.forward(case.spec, {**tensors, weight: own}, x, jnp.array([LENGTH, 9]), "cpu")[1, 2:8].mean()

    slope = jax.jit(jax.grad(loss))(case.tensors[weight], dict(case.tensors), x)
    slopes = np.square(slope * case.tensors[weight]).mean(1)
    sizes = next(block.sizes for _, block, prefix, _ in case.mixers() if prefix == f"{name}.")
    assert sizes is not None
    b, c = (slopes[slice(*sizes.rows[part])].reshape(sizes.groups, -1) for part in "BC")
    np.testing.assert_allclose(scores[name.replace(".", "/")]["fisher"][1], b + c, rtol=1e-3)


def test_a_gradient_holds_what_is_within_one_block_at_a_time() -> None:
    width, inner, heads, states, steps = 32, 64, 4, 16, 256
    rows, sizes = inner + 2 * states, {"A_log": (heads,), "D": (heads,), "dt_bias": (heads,), "norm.weight": (inner,)}
    sizes |= {"in_proj.weight": (inner + rows + heads, width), "out_proj.weight": (width, inner)}
    sizes |= {"conv1d.weight": (rows, 1, 4), "conv1d.bias": (rows,)}
    said = {"model_type": "mamba2", "n_groups": 1, "num_heads": heads, "head_dim": inner // heads}

    def held(blocks: int) -> int:
        shapes = {"backbone.embeddings.weight": (40, width), "backbone.norm_f.weight": (width,)}
        for prefix in (f"backbone.layers.{i}" for i in range(blocks)):
            shapes |= {f"{prefix}.mixer.{name}": shape for name, shape in sizes.items()}
            shapes[f"{prefix}.norm.weight"] = (width,)
        spec = language_spec(shapes, {MAIN: said})
        x, one = jax.ShapeDtypeStruct((1, steps), jnp.int32), jax.ShapeDtypeStruct((1,), jnp.int32)
        run = jax.jit(lambda *given: LANGUAGE.observed["fisher", "states"](spec, *given))
        tensors = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
        plan = run.lower(tensors, x, one, one).compile().memory_analysis()
        assert plan is not None
        return plan.temp_size_in_bytes

    of_one = 4 * steps * (inner + rows + heads)  # what in_proj alone puts out
    assert held(3) - held(2) < of_one / 2


def test_what_heads_and_channels_put_out_adds_up_to_what_the_mixer_puts_out() -> None:
    case = model("phi_mva")
    x, counted = case.recorded["tokens"][:1, :8].astype(np.int32), jnp.where(jnp.arange(8) < 6, 1.0, 0.0)
    energies, inputs, means = jax.jit(
        lambda t, x: (
            observe.outputs(case.spec, t, x, counted),
            mixer_inputs(case.spec, t, x),
            observe.fluctuations(case.spec, t, x, counted),
        )
    )(dict(case.tensors), x)
    for _, block, prefix, tensors in case.mixers():
        sizes, name = block.sizes, prefix.rstrip(".")
        assert sizes is not None
        own = {part: jnp.asarray(array) for part, array in tensors.items()}
        read = np.asarray(forward.readout(sizes, own, inputs[name]), np.float64)[0, :6]
        each = read[:, None] * tensors["out_proj.weight"]
        np.testing.assert_allclose(energies[name]["channels"].ravel(), np.square(each).sum((0, 1)), rtol=1e-4)
        by_head = each.reshape(*each.shape[:2], sizes.heads, -1).sum(-1)
        np.testing.assert_allclose(energies[name]["heads"], np.square(by_head).sum((0, 1)), rtol=1e-4)
        np.testing.assert_allclose(means[name]["mean"].ravel(), read.mean(0), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(means[name]["square"].ravel(), np.square(read).mean(0), rtol=1e-4)
