"""Flax modules that reproduce the S5 sequence classifier and the S4D classifier, built from the shapes in the tree.

A pruned checkpoint, with another number of states in each layer, loads like any other. Parameter names are the original
codes' own: encoder/encoder, encoder/layers_0/{norm,seq,out1,out2}, decoder (S5); encoder, layers_0/..., decoder (S4D).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base import registry
from last_cli.base.annotations import Array, Float, Int, Num
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.network import scan
from last_cli.families.lti.network.documents import apart, paired
from last_cli.families.lti.network.spec import BATCH_NORM_EPSILON, LAYER_NORM_EPSILON, BlockSpec, ModelSpec


class SSM(nn.Module):
    """An SSM layer of any family. A `system` variable, prepared beforehand, takes the place of the parameters' own."""

    spec: BlockSpec
    config: ModelConfig

    @nn.compact
    def __call__(self, u: Float[Array, "batch length features"]) -> Float[Array, "batch length features"]:
        leaves = {name: self.param(name, nn.initializers.zeros, shape) for name, shape in self.spec.leaves}
        if self.has_variable("system", "prepared"):
            return scan.run(self.get_variable("system", "prepared"), u)
        system = registry.get("families", self.spec.family).system(leaves, self.config)
        return scan.run(scan.prepare(system, u.shape[1]), u)


class Block(nn.Module):
    """Norm, SSM, GLU and residual sum."""

    spec: BlockSpec
    config: ModelConfig
    d_model: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch length features"], training: bool
    ) -> Float[Array, "batch length features"]:
        config, skip = self.config, x
        if config.prenorm:
            x = self._norm(x, training)
        x = SSM(self.spec, config, name="seq")(x)
        x = skip + self._glu(x, training)
        return x if config.prenorm else self._norm(x, training)

    def _norm(self, x: Any, training: bool) -> Any:
        if self.spec.norm == "batch":
            return nn.BatchNorm(
                use_running_average=not training,
                momentum=self.config.bn_momentum,
                epsilon=BATCH_NORM_EPSILON,
                name=self.spec.norm_name,
            )(x)
        return nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name=self.spec.norm_name)(x)

    def _glu(self, x: Any, training: bool) -> Any:
        drop = nn.Dropout(self.config.dropout, broadcast_dims=(1,), deterministic=not training)
        dense = [nn.Dense(self.d_model, name=name) for name in self.spec.glu]
        activated = drop(nn.gelu(x))
        match self.config.activation:
            case "full_glu":
                x = dense[0](activated) * jax.nn.sigmoid(dense[1](activated))
            case "half_glu1":
                x = activated * jax.nn.sigmoid(dense[0](activated))
            case "half_glu2":
                x = x * jax.nn.sigmoid(dense[0](activated))
            case _:
                return activated
        return drop(x)


class Encoder(nn.Module):
    """A linear map of each time step. Integer tokens look their row up: the product with their one-hot vector."""

    d_input: int
    d_model: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch length d_input"] | Int[Array, "batch length"]) -> Float[Array, "b l h"]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.d_input, self.d_model))
        bias = self.param("bias", nn.initializers.zeros, (self.d_model,))
        return (kernel[x] if jnp.issubdtype(x.dtype, jnp.integer) else x @ kernel) + bias


class Stack(nn.Module):
    """Encoder and blocks."""

    spec: ModelSpec

    @nn.compact
    def __call__(self, x: Any, training: bool) -> Float[Array, "batch length features"]:
        return _encode(self.spec, x, training)


class PairDecoder(nn.Module):
    """The head of two documents, on what `paired` made of their pooled features."""

    d_model: int
    d_output: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        return nn.Dense(self.d_output, name="layer2")(nn.gelu(nn.Dense(self.d_model, name="layer1")(x)))


class Classifier(nn.Module):
    """Log-probabilities of the classes for a batch of sequences.

    Call it on tokens (batch, length) or features (batch, length, d_input), with the lengths (batch,) where sequences
    are padded; where a sample is two documents, on tokens (batch, 2, length) with lengths (batch, 2). With
    `training=True` it takes a `dropout` key and updates `batch_stats`.
    """

    spec: ModelSpec

    @nn.compact
    def __call__(
        self, x: Any, lengths: Num[Array | np.ndarray, "batch *documents"] | None = None, training: bool = False
    ) -> Float[Array, "batch classes"]:
        spec = self.spec
        x, lengths = apart(spec, jnp.asarray(x), lengths)
        x = Stack(spec, name="encoder")(x, training) if spec.nested else _encode(spec, x, training)
        x = _pool(spec.config, x, lengths)
        if spec.documents == 2:
            x = PairDecoder(spec.d_model, spec.d_output, name="decoder")(paired(x))
        else:
            x = nn.Dense(spec.d_output, name="decoder")(x)
        return nn.log_softmax(x, axis=-1)


def _encode(spec: ModelSpec, x: Any, training: bool) -> Any:
    x = Encoder(spec.d_input, spec.d_model, name="encoder")(x)
    for block in spec.blocks:
        x = Block(block, spec.config, spec.d_model, name=block.name)(x, training)
    return x


def _pool(config: ModelConfig, x: Float[Array, "batch length h"], lengths: Any) -> Float[Array, "batch h"]:
    if config.mode == "last":
        return x[:, -1]
    if lengths is None or not config.padded:
        return x.mean(axis=1)
    inside = (jnp.arange(x.shape[1]) < lengths[:, None]).astype(x.dtype)
    return jnp.einsum("blh,bl->bh", x, inside) / lengths[:, None]
