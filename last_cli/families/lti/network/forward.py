"""The forward pass for inference: a pure function of folded parameters and sequences.

The stream is (length, batch, features) where states are driven by all features, so that the loop over time needs no
transposition, and (features, batch, length) where each channel is convolved by itself. `axis` is that of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Array, Float, Int, Num
from last_cli.families.lti.network.convolve import convolve
from last_cli.families.lti.network.documents import apart, paired
from last_cli.families.lti.network.fold import Params
from last_cli.families.lti.network.recurrence import Block, product, recurrence
from last_cli.families.lti.network.spec import LAYER_NORM_EPSILON, BlockSpec, ModelSpec

Blocks = Sequence[tuple[BlockSpec, Params]]


def forward(
    spec: ModelSpec,
    params: Params,
    x: Int[Array, "batch *documents length"] | Float[Array, "batch length d_input"],
    lengths: Num[Array, "batch *documents"] | None = None,
    platform: str | None = None,
) -> Float[Array, "batch classes"]:
    """Log-probabilities of the classes, those of `module.Classifier` without training.

    Args:
        spec: of the classifier.
        x: tokens or features, or the tokens of two documents a sample.
        params: what `fold.fold` made for sequences of this length.
        lengths: steps of each sequence that are no padding, where sequences are padded.
        platform: what it is compiled for, JAX's default backend if None. On a "cpu" time passes one step after the
            other, elsewhere in logarithmic depth.
    """
    on_cpu = (platform or jax.default_backend()) == "cpu"
    x, lengths = apart(spec, x, lengths)
    stream, axis = _encode(params["encoder"], x), -1
    for wanted, blocks in groupby(zip(spec.blocks, params["blocks"], strict=True), _axis):
        if wanted != axis:
            stream, axis = jnp.swapaxes(stream, 0, 2), wanted
        run = _convolutions if axis == 0 else _recurrences
        stream = run(spec, list(blocks), stream, on_cpu)
    return jax.nn.log_softmax(_decode(spec, params["decoder"], _pool(spec, stream, lengths, axis)))


def _axis(block: tuple[BlockSpec, Params]) -> int:
    return 0 if "parts" in block[1]["ssm"] else -1


def _encode(encoder: Params, x: Any) -> Float[Array, "length batch features"]:
    kernel, bias = encoder["kernel"], encoder["bias"].astype(encoder["kernel"].dtype)
    x = jnp.swapaxes(x, 0, 1)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return (kernel + bias)[x]
    return x.astype(kernel.dtype) @ kernel + bias


def _recurrences(
    spec: ModelSpec, blocks: Blocks, stream: Float[Array, "length batch features"], on_cpu: bool
) -> Float[Array, "length batch features"]:
    def block(of: BlockSpec, folded: Params) -> Block:
        return Block(folded["ssm"], partial(_enter, spec, of, axis=-1), partial(_leave, spec, of, folded, axis=-1))

    return recurrence([block(*each) for each in blocks], stream, on_cpu)


def _convolutions(
    spec: ModelSpec, blocks: Blocks, stream: Float[Array, "features batch length"], on_cpu: bool
) -> Float[Array, "features batch length"]:
    for block, folded in blocks:
        y = convolve(folded["ssm"]["parts"], _enter(spec, block, stream, 0), on_cpu)
        stream = _leave(spec, block, folded, stream, y, 0)
    return stream


def _enter(spec: ModelSpec, block: BlockSpec, stream: Any, axis: int) -> Any:
    return _centred(stream, axis) if spec.config.prenorm and block.norm == "layer" else stream


def _leave(spec: ModelSpec, block: BlockSpec, folded: Params, skip: Any, y: Any, axis: int) -> Any:
    stream = (skip + _glu(spec.config.activation, folded.get("glu"), y, axis)).astype(skip.dtype)
    if spec.config.prenorm:
        return stream
    stream = _centred(stream, axis) if block.norm == "layer" else stream
    return (stream * _along(folded["norm"]["scale"], axis) + _along(folded["norm"]["bias"], axis)).astype(skip.dtype)


def _centred(x: Any, axis: int) -> Any:
    """Layer norm without its scale and bias."""
    wide = x.astype(jnp.float32)
    wide = wide - wide.mean(axis, keepdims=True)
    return (wide * jax.lax.rsqrt(jnp.square(wide).mean(axis, keepdims=True) + LAYER_NORM_EPSILON)).astype(x.dtype)


def _glu(activation: str, glu: Params | None, y: Any, axis: int) -> Any:
    activated = jax.nn.gelu(y)
    if glu is None:
        return activated
    z = _dense(glu, activated, axis)
    if activation == "full_glu":
        value, z = jnp.split(z, 2, axis)
    else:
        value = activated if activation == "half_glu1" else y
    return value * (0.5 + 0.5 * jnp.tanh(z))


def _pool(spec: ModelSpec, stream: Any, lengths: Any, axis: int) -> Float[Array, "batch features"]:
    if spec.config.mode == "last":
        return stream[-1] if axis == -1 else stream[..., -1].T
    length = stream.shape[-1 - axis]
    if lengths is None or not spec.config.padded:
        weights = jnp.full((length, stream.shape[1]), 1 / length)
    else:
        weights = (jnp.arange(length)[:, None] < lengths) / lengths
    return jnp.einsum("lb,lbh->bh" if axis == -1 else "lb,hbl->bh", weights, stream.astype(jnp.float32))


def _decode(spec: ModelSpec, decoder: Params, x: Any) -> Any:
    if spec.documents == 1:
        return _dense(decoder, x, -1)
    return _dense(decoder["layer2"], jax.nn.gelu(_dense(decoder["layer1"], paired(x), -1)), -1)


def _dense(dense: Params, x: Any, axis: int) -> Any:
    x, kernel = x.astype(dense["kernel"].dtype), dense["kernel"]  # which comes transposed where the features come first
    return (product(x, kernel) if axis == -1 else product(kernel, x)) + _along(dense["bias"], axis)


def _along(vector: Float[Array, " features"], axis: int) -> Any:
    """A number for each feature, to be broadcast against the stream."""
    return vector if axis == -1 else vector[:, None, None]
