"""The forward pass for inference: a pure function of folded parameters and sequences.

The stream is time-major, (length, batch, features), so that the loop over time needs no transposition.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from last_cli.folding import Params
from last_cli.shapes import Array, Complex, Float, Int, Num
from last_cli.spec import BlockSpec, ModelSpec

LAYER_NORM_EPSILON = 1e-6
LOOPS = ("in order", "associative")


def forward(
    spec: ModelSpec,
    params: Params,
    x: Int[Array, "batch *documents length"] | Float[Array, "batch length d_input"],
    lengths: Num[Array, "batch *documents"] | None = None,
    loop: str | None = None,
) -> Float[Array, "batch classes"]:
    """Log-probabilities of the classes, those of `model.Classifier` without training.

    Args:
        params: what `folding.fold` made for sequences of this length.
        lengths: steps of each sequence that are no padding, where sequences are padded.
        loop: how time passes: "in order", one step after the other, suits a CPU's cache; "associative", in logarithmic
            depth, an accelerator. By default as the backend wants it.
    """
    loop = loop or ("in order" if jax.default_backend() == "cpu" else "associative")
    stream = _encode(params["encoder"], x)
    for block, folded in zip(spec.blocks, params["blocks"], strict=True):
        stream = _block(spec, block, folded, stream, loop)
    return jax.nn.log_softmax(_dense(params["decoder"], _pool(spec, stream, lengths)).astype(jnp.float32))


def _encode(encoder: Params, x: Any) -> Float[Array, "length batch features"]:
    kernel, bias = encoder["kernel"], encoder["bias"].astype(encoder["kernel"].dtype)
    x = jnp.swapaxes(x, 0, 1)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return (kernel + bias)[x]
    return x.astype(kernel.dtype) @ kernel + bias


def _block(spec: ModelSpec, block: BlockSpec, folded: Params, skip: Any, loop: str) -> Any:
    prenorm = spec.config.prenorm
    u = _centred(skip) if prenorm and block.norm == "layer" else skip
    y = _ssm(folded["ssm"], u, loop)
    stream = (skip + _gate(spec.config.activation, folded.get("gate"), y.astype(skip.dtype))).astype(skip.dtype)
    if prenorm:
        return stream
    stream = _centred(stream) if block.norm == "layer" else stream
    return (stream * folded["norm"]["scale"] + folded["norm"]["bias"]).astype(skip.dtype)


def _centred(x: Any) -> Any:
    """Layer norm without its scale and bias."""
    wide = x.astype(jnp.float32)
    wide = wide - wide.mean(axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(jnp.square(wide).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)).astype(x.dtype)


def _ssm(folded: Params, u: Float[Array, "length batch features"], loop: str) -> Float[Array, "length batch outputs"]:
    if "spectrum" in folded:
        u = u * folded["scale"] + folded["bias"]
        return _convolve(folded["spectrum"], u) + folded["D"] * u
    states = folded["lam"].shape[0]
    driven = _product(u, folded["drive"]) + folded["constant"]
    driven = jax.lax.complex(driven[..., :states], driven[..., states:])
    readouts = folded["readout"].shape[0] // (2 * states)
    xs = [recur(folded["lam"], driven, reverse=bool(r), loop=loop) for r in range(readouts)]
    seen = jnp.concatenate([part for x in xs for part in (x.real, x.imag)], axis=-1)
    return _product(seen.astype(u.dtype), folded["readout"]) + folded["D"] * u + folded["offset"]


def recur(
    lam: Complex[Array, " n"], driven: Complex[Array, "l b n"], *, reverse: bool, loop: str
) -> Complex[Array, "l b n"]:
    """x[t] = lam x[t-1] + driven[t]; backwards in time where `reverse`."""
    if loop == "associative":
        elements = (jnp.broadcast_to(lam, driven.shape), driven)
        return jax.lax.associative_scan(_combine, elements, reverse=reverse)[1]

    def step(x: Any, b: Any) -> tuple[Any, Any]:
        x = lam * x + b
        return x, x

    return jax.lax.scan(step, jnp.zeros_like(driven[0]), driven, reverse=reverse)[1]


def _combine(first: Any, second: Any) -> tuple[Any, Any]:
    return second[0] * first[0], second[0] * first[1] + second[1]


def _convolve(
    spectrum: Complex[Array, "features frequencies"], u: Float[Array, "length batch features"]
) -> Float[Array, "length batch features"]:
    length = u.shape[0]
    transformed = jnp.fft.rfft(jnp.transpose(u, (1, 2, 0)), n=2 * length)
    return jnp.transpose(jnp.fft.irfft(transformed * spectrum, n=2 * length)[..., :length], (2, 0, 1))


def _gate(activation: str, gate: Params | None, y: Any) -> Any:
    activated = jax.nn.gelu(y)
    if gate is None:
        return activated
    z = _dense(gate, activated)
    if activation == "full_glu":
        value, z = jnp.split(z, 2, axis=-1)
    else:
        value = activated if activation == "half_glu1" else y
    return value * (0.5 + 0.5 * jnp.tanh(z))


def _pool(spec: ModelSpec, stream: Float[Array, "length batch features"], lengths: Any) -> Any:
    if spec.config.mode == "last":
        return stream[-1].astype(jnp.float32)
    length = stream.shape[0]
    if lengths is None or not spec.config.padded:
        weights = jnp.full(stream.shape[:2], 1 / length)
    else:
        weights = (jnp.arange(length)[:, None] < lengths) / lengths
    return jnp.einsum("lbh,lb->bh", stream, weights, preferred_element_type=jnp.float32)


def _dense(dense: Params, x: Any) -> Any:
    return _product(x.astype(dense["kernel"].dtype), dense["kernel"]) + dense["bias"]


def _product(x: Any, weights: Any) -> Any:
    """In float32 whatever the operands' precision."""
    return jnp.matmul(x, weights, preferred_element_type=jnp.float32)
