"""The published algorithms, written plainly: the baselines of speed.py.

S5 (Smith et al., ICLR 2023, section 3 and appendix A): parameters discretised in every call, complex products of one
step's vector each, vmapped over time, a complex associative scan, every module by itself, vmapped over the batch. S4D
(Gu et al., NeurIPS 2022, section 3): the Vandermonde kernel built in every call, and an FFT convolution per channel.
Both read a classifier's nested variables of prenorm, batch norm and a gate of one product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def s5_step(activation: str, padded: bool, clip: bool) -> Callable[..., Any]:
    """(variables, features (batch, length, d_input), lengths) -> log-probabilities, compiled when first called."""

    def ssm(seq: Any, u: Any) -> Any:
        real = jnp.clip(seq["Lambda_re"], None, -1e-4) if clip else seq["Lambda_re"]
        Lambda = real + 1j * seq["Lambda_im"]
        Lambda_bar = jnp.exp(Lambda * jnp.exp(seq["log_step"][:, 0]))
        B = seq["B"][..., 0] + 1j * seq["B"][..., 1]
        B_bar = ((Lambda_bar - 1) / Lambda)[:, None] * B
        C = jnp.concatenate([seq[c][..., 0] + 1j * seq[c][..., 1] for c in ("C1", "C2")], axis=-1)
        elements = jnp.tile(Lambda_bar, (len(u), 1)), jax.vmap(lambda step: B_bar @ step)(u)
        forward = jax.lax.associative_scan(_after, elements)[1]
        backward = jax.lax.associative_scan(_after, elements, reverse=True)[1]
        x = jnp.concatenate([forward, backward], axis=-1)
        return jax.vmap(lambda step: 2 * (C @ step).real)(x) + jax.vmap(lambda step: seq["D"] * step)(u)

    return _classifier(ssm, activation, padded)


def s4d_step(activation: str) -> Callable[..., Any]:
    """The same for S4D with annotated leaves."""

    def channel(seq: Any, u: Any) -> Any:
        length, dt = len(u), jnp.exp(seq["log_step"][0])
        A = jnp.clip(seq["A_re"], None, -1e-4) + 1j * seq["A_im"]
        weights = (seq["C"][..., 0] + 1j * seq["C"][..., 1]) * (jnp.exp(dt * A) - 1) / A
        vandermonde = jnp.exp((dt * A)[:, None] * jnp.arange(length))
        kernel = (weights @ vandermonde).real
        spectra = jnp.fft.rfft(u, n=2 * length), jnp.fft.rfft(kernel, n=2 * length)
        return jnp.fft.irfft(spectra[0] * spectra[1], n=2 * length)[:length] + seq["D"][0] * u

    axes = dict.fromkeys(("A_re", "A_im", "B_re", "B_im", "C", "D", "log_step"), 1)
    return _classifier(jax.vmap(channel, in_axes=(axes, 1), out_axes=1), activation, padded=False)


def _classifier(ssm: Callable[..., Any], activation: str, padded: bool) -> Callable[..., Any]:
    def one(variables: Any, x: Any, length: Any) -> Any:
        params, stats = variables["params"], variables["batch_stats"]
        tower = params["encoder"]
        x = _dense(tower["encoder"], x)
        for name in sorted(stats["encoder"]):
            x = x + _gate(tower[name], ssm(tower[name]["seq"], _norm(tower[name]["norm"], stats["encoder"][name], x)))
        if padded:
            x = jnp.sum(jnp.where(jnp.arange(len(x))[:, None] < length, x, 0), axis=0) / length
        else:
            x = x.mean(axis=0)
        return jax.nn.log_softmax(_dense(params["decoder"], x))

    def _gate(block: Any, y: Any) -> Any:
        activated = jax.nn.gelu(y)
        gate = jax.nn.sigmoid(_dense(block["out2"], activated))
        return (activated if activation == "half_glu1" else y) * gate

    return jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))


def _after(first: Any, second: Any) -> Any:
    return second[0] * first[0], second[0] * first[1] + second[1]


def _norm(norm: Any, stats: Any, x: Any) -> Any:
    stats = stats["norm"]
    return (x - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5) * norm["scale"] + norm["bias"]


def _dense(dense: Any, x: Any) -> Any:
    return x @ dense["kernel"] + dense["bias"]
