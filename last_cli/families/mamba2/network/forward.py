"""The forward pass of a language model of Mamba-2 mixers, attention and feed-forward parts, in JAX and float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from last_cli.base.annotations import Float, Int
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.network.spec import Attention, Block, LanguageSpec
from last_cli.families.mamba2.network.ssd import CHUNK, ssd

Tensors = Mapping[str, jax.Array]
BLOCK = 256
"""Positions whose logits are there at once."""


def logits(spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "B T"], chunk: int = CHUNK) -> jax.Array:
    """The logits (B, T, V) at every position.

    Args:
        spec: of the model.
        tensors: all of it by name, in float32.
        tokens: numbers below the vocabulary's size.
        chunk: see ssd.
    """
    return jnp.moveaxis(_logits(spec, tensors, _last(spec, tensors, tokens, chunk)), 0, -1)


def surprise(spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "B T"], chunk: int = CHUNK) -> jax.Array:
    """-log p in nats (B, T - 1) of every token but the first, given those before it; for the arguments see logits."""
    return _surprise(spec, tensors, _last(spec, tensors, tokens[:, :-1], chunk), tokens[:, 1:])


def echo(spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "B T"]) -> Float[jax.Array, "B T"]:
    """-log p of every token, given those before it and itself: a loss whose labels are not shifted."""
    return _surprise(spec, tensors, _last(spec, tensors, tokens, CHUNK), tokens)


def left(
    spec: LanguageSpec, tensors: Tensors, x: Float[jax.Array, "B T d"], wanted: Int[jax.Array, "B T"]
) -> Float[jax.Array, "B T"]:
    """-log p of the tokens that are wanted, behind what the last block put out."""
    return _surprise(spec, tensors, _norm(tensors, spec.final_norm, x, spec.eps), wanted)


def _surprise(
    spec: LanguageSpec, tensors: Tensors, x: Float[jax.Array, "B T d"], wanted: Int[jax.Array, "B T"]
) -> Float[jax.Array, "B T"]:
    """The logits of a few positions at a time are made and left again.

    Of a large vocabulary those of all would take more memory than the model.
    """
    batch, steps, width = x.shape
    block = min(BLOCK, steps)
    padding = -steps % block
    x, wanted = jnp.pad(x, ((0, 0), (0, padding), (0, 0))), jnp.pad(wanted, ((0, 0), (0, padding)))

    @jax.checkpoint
    def some(part: tuple[jax.Array, jax.Array]) -> jax.Array:
        found = _logits(spec, tensors, part[0])
        return jax.nn.logsumexp(found, 0) - jnp.take_along_axis(found, part[1][None], 0)[0]

    parts = x.reshape(batch, -1, block, width).swapaxes(0, 1), wanted.reshape(batch, -1, block).swapaxes(0, 1)
    return jax.lax.map(some, parts).swapaxes(0, 1).reshape(batch, -1)[:, :steps]


def change(
    spec: LanguageSpec, models: Sequence[Tensors], tokens: Int[jax.Array, "1 T"], counted: Float[jax.Array, " T"]
) -> Float[jax.Array, " 2"]:
    """Squares summed over the positions that count: of the change of the centred logits, and of these themselves.

    A few positions at a time, see `surprise`.

    Args:
        spec: of both models.
        models: the tensors of two.
        tokens: one sequence.
        counted: 1.0 or 0.0 for each.
    """
    block = min(BLOCK, len(counted))
    padding = -len(counted) % block

    def blocks(array: jax.Array) -> jax.Array:
        padded = jnp.pad(array, ((0, padding), *[(0, 0)] * (array.ndim - 1)))
        return padded.reshape(-1, block, *array.shape[1:])

    def some(part: tuple[jax.Array, ...]) -> jax.Array:
        one, other = (_logits(spec, own, x) for own, x in zip(models, part, strict=False))
        one, other = (found - found.mean(0) for found in (one, other))
        return jnp.stack([jnp.square(other - one).sum(0) @ part[2], jnp.square(one).sum(0) @ part[2]])

    last = [_last(spec, own, tokens, CHUNK)[0] for own in models]
    return jax.lax.map(some, (*map(blocks, last), blocks(counted))).sum(0)


def mixer_inputs(spec: LanguageSpec, tensors: Tensors, tokens: Int[jax.Array, "B T"]) -> dict[str, jax.Array]:
    """What every mixer reads (B, T, d), by its prefix."""
    seen: dict[str, jax.Array] = {}
    _last(spec, tensors, tokens, CHUNK, seen)
    return seen


def watched_block(
    spec: LanguageSpec, tensors: Tensors, x: Float[jax.Array, "B T d"]
) -> tuple[Float[jax.Array, "B T d"], dict[str, jax.Array]]:
    """What the one block of a spec makes of x, and what its linear maps read, by where they stand.

    Args:
        spec: of a model of this block alone.
        tensors: by their names below its prefix.
        x: what the block before put out.
    """
    (block,), seen = spec.blocks, {}
    y = _block(spec, block, CHUNK, tensors, x, _norm(tensors, block.norm, x, block.eps), seen)
    return y, seen


def _last(
    spec: LanguageSpec, tensors: Tensors, tokens: jax.Array, chunk: int, seen: dict[str, jax.Array] | None = None
) -> jax.Array:
    """What the head reads."""
    x: Any = tensors[f"{spec.embedding}.weight"][tokens] * spec.factors["embedding"]
    for block in spec.blocks:
        own = below(tensors, f"{block.prefix}.")
        if seen is not None and block.mixer:
            seen[f"{block.prefix}.{block.mixer}"] = before(block, own, x)
        x = _remade(spec, block, chunk, own, x)
    return _norm(tensors, spec.final_norm, x, spec.eps)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _remade(spec: LanguageSpec, block: Block, chunk: int, tensors: Tensors, x: jax.Array) -> jax.Array:
    """The stream behind a block; a gradient makes all within it again, so that no more than one block's is there."""
    return after(spec, block, tensors, x, chunk)


def _remade_forward(spec: LanguageSpec, block: Block, chunk: int, tensors: Tensors, x: jax.Array) -> Any:
    return after(spec, block, tensors, x, chunk), (tensors, x)


def _remade_backward(spec: LanguageSpec, block: Block, chunk: int, inputs: Any, slope: jax.Array) -> Any:
    """The gradient, in a branch of which XLA cannot know that it is the one to take.

    XLA on CPUs drops the barriers of jax.checkpoint, sees that what is made again was there before, and keeps it all.
    """

    def slopes(inputs: Any, slope: jax.Array) -> Any:
        return jax.vjp(lambda tensors, x: after(spec, block, tensors, x, chunk), *inputs)[1](slope)

    def broken(inputs: Any, slope: jax.Array) -> Any:
        return jax.tree.map(lambda array: jnp.full_like(array, jnp.nan), inputs)

    return jax.lax.cond(jnp.isfinite(slope).all(), slopes, broken, inputs, slope)


_remade.defvjp(_remade_forward, _remade_backward)


def before(block: Block, tensors: Tensors, x: Float[jax.Array, "B T d"]) -> Float[jax.Array, "B T d"]:
    """What a block's mixer reads of the stream; tensors are by their names below the block's prefix."""
    return _norm(tensors, block.norm, x, block.eps)


def after(
    spec: LanguageSpec, block: Block, tensors: Tensors, x: Float[jax.Array, "B T d"], chunk: int = CHUNK
) -> Float[jax.Array, "B T d"]:
    """The stream behind a block; for the arguments see before."""
    return _block(spec, block, chunk, tensors, x, before(block, tensors, x))


def _logits(
    spec: LanguageSpec, tensors: Tensors, x: Float[jax.Array, "*positions d"]
) -> Float[jax.Array, "V *positions"]:
    """x (..., d) -> (V, ...), the vocabulary first: a CPU sums over rows side by side, along a row one by one."""
    head = tensors.get(f"{spec.head}.weight", tensors[f"{spec.embedding}.weight"])
    found = head @ x.reshape(-1, x.shape[-1]).T
    bias = tensors.get(f"{spec.head}.bias")
    found = found if bias is None else found + bias[:, None]
    return found.reshape(-1, *x.shape[:-1]) * spec.factors["logits"]


def _block(
    spec: LanguageSpec,
    block: Block,
    chunk: int,
    tensors: Tensors,
    x: jax.Array,
    behind: jax.Array,
    seen: dict[str, jax.Array] | None = None,
) -> jax.Array:
    """What a block makes of x, and of x behind its first norm; tensors are by their names below its prefix.

    Into `seen` goes what linear maps read, and the residual stream that the last branch is added to.
    """
    seen = {} if seen is None else seen
    branches = jnp.zeros_like(x)
    if block.mixer and block.sizes:
        seen["in_proj"] = behind
        branches += mix(block.sizes, below(tensors, f"{block.mixer}."), behind, chunk, seen)
    if block.attention and block.attends:
        branches += _attend(block.attends, below(tensors, f"{block.attention}."), behind)
    feed = below(tensors, f"{block.feed_forward}.") if block.feed_forward else None
    if feed and block.second_norm is None:  # Beside the mixer, behind the same norm.
        return x + branches + _feed_forward(spec, feed, behind, seen)
    seen["residual"] = x
    x = x + branches * spec.factors["residual"]
    if feed and block.second_norm:
        behind = _norm(tensors, block.second_norm, x, block.eps)
        seen["residual"] = x
        x = x + _feed_forward(spec, feed, behind, seen) * spec.factors["residual"]
    return x


def mix(
    sizes: Mixer,
    tensors: Tensors,
    u: Float[jax.Array, "B T d"],
    chunk: int = CHUNK,
    seen: dict[str, jax.Array] | None = None,
) -> Float[jax.Array, "B T d"]:
    """What a mixer makes of its input.

    Args:
        sizes: of the mixer.
        tensors: by their names below its prefix.
        u: behind the norm in front.
        chunk: see ssd.
        seen: into it goes what out_proj reads.
    """
    y = readout(sizes, tensors, u, chunk)
    if seen is not None:
        seen["out_proj"] = y
    return _linear(y, tensors["out_proj.weight"], tensors.get("out_proj.bias")) * sizes.settings.factor_out


def readout(
    sizes: Mixer, tensors: Tensors, u: Float[jax.Array, "B T d"], chunk: int = CHUNK
) -> Float[jax.Array, "B T columns"]:
    """What out_proj reads; for the arguments see mix."""
    return _readout(sizes, tensors, u, chunk)[0]


def readout_and_skip(
    sizes: Mixer, tensors: Tensors, u: Float[jax.Array, "B T d"], chunk: int = CHUNK
) -> tuple[Float[jax.Array, "B T columns"], Float[jax.Array, "B T columns"]]:
    """What out_proj reads, and by how much each column of it grows with its D, the gate's norm held as it is."""
    y, ungated, x, z = _readout(sizes, tensors, u, chunk)
    skip = _gated(sizes, tensors, x, z, normed=ungated)
    return y, jnp.pad(skip, ((0, 0), (0, 0), (sizes.beside, 0)))


def _readout(
    sizes: Mixer, tensors: Tensors, u: jax.Array, chunk: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """What out_proj reads, and of the heads' channels what stands before the gate, what D takes, and the gate."""
    parts, (x, b, c) = enter(sizes, tensors, u)
    driven, decay = drive(sizes, tensors, parts, x)
    y = ssd(driven, decay, b, c, chunk) + x * tensors["D"].reshape(sizes.heads, -1)
    y = y.reshape(*y.shape[:2], -1)
    z = parts["z"] + tensors.get("z_bias", 0.0)
    found = _gated(sizes, tensors, y, z)
    if sizes.beside:
        found = jnp.concatenate([jax.nn.silu(parts["z0"]) * parts["x0"], found], -1)
    return found, y, x.reshape(y.shape), z


def enter(
    sizes: Mixer, tensors: Tensors, u: Float[jax.Array, "B T d"]
) -> tuple[dict[str, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    """What a mixer makes of its input before its states: the parts of in_proj, and x, B and C by heads or groups."""
    settings = sizes.settings
    projected = _linear(u * settings.factor_in, tensors["in_proj.weight"], tensors.get("in_proj.bias"))
    parts = {part: projected[..., start:end] for part, (start, end) in sizes.rows.items()}
    parts = {part: value * settings.factors.get(part, 1.0) for part, value in parts.items()}
    convolved = _convolve(jnp.concatenate([parts["x"], parts["B"], parts["C"]], -1), tensors)
    convolved = jax.nn.silu(convolved) if settings.activation == "silu" else convolved
    x, b, c = (_heads(convolved[..., start:end], sizes, part) for part, (start, end) in sizes.conv_rows.items())
    return parts, (x, b, c)


def drive(
    sizes: Mixer, tensors: Tensors, parts: Mapping[str, jax.Array], x: Float[jax.Array, "B T H P"]
) -> tuple[Float[jax.Array, "B T H P"], Float[jax.Array, "B T H"]]:
    """What drives the states, and the logarithm of what a step leaves of them."""
    if sizes.settings.rows == "discrete":
        return x, -jax.nn.softplus(parts["dt"])
    step = jnp.clip(jax.nn.softplus(parts["dt"] + tensors["dt_bias"]), *sizes.settings.limit)
    return x * step[..., None], -jnp.exp(tensors["A_log"]) * step


def _heads(value: jax.Array, sizes: Mixer, part: str) -> jax.Array:
    """A part by heads or groups; what several heads share is repeated where x is shared too."""
    batch, steps, _ = value.shape
    shared = sizes.settings.rows == "shared"
    if part == "x":
        value = value.reshape(batch, steps, -1, sizes.head_dim)
    else:
        value = value.reshape(batch, steps, -1, sizes.states)
    repeats = sizes.heads // value.shape[2]
    return jnp.repeat(value, repeats, axis=2) if shared and repeats > 1 else value


def _convolve(x: jax.Array, tensors: Tensors) -> jax.Array:
    """A causal convolution of every channel with its own few weights."""
    weight = tensors["conv1d.weight"][:, 0]
    width, steps = weight.shape[1], x.shape[1]
    padded = jnp.pad(x, ((0, 0), (width - 1, 0), (0, 0)))
    y = sum((padded[:, k : k + steps] * weight[:, k] for k in range(width)), start=jnp.zeros((), x.dtype))
    return y + tensors["conv1d.bias"] if "conv1d.bias" in tensors else y


def _gated(sizes: Mixer, tensors: Tensors, y: jax.Array, z: jax.Array, normed: jax.Array | None = None) -> jax.Array:
    """y behind the gate and its norm, which may be that of another y."""
    settings, gate = sizes.settings, jax.nn.silu(z)
    if settings.norm is None:
        return y * gate
    y = y * gate if settings.norm == "gate first" else y
    by_group = y.reshape(*y.shape[:-1], sizes.norm_groups, -1)
    if normed is None:
        measured = by_group
    else:
        measured = (normed * gate if settings.norm == "gate first" else normed).reshape(by_group.shape)
    by_group *= jax.lax.rsqrt(jnp.mean(measured**2, -1, keepdims=True) + settings.eps)
    y = by_group.reshape(y.shape) * tensors["norm.weight"]
    return y * gate if settings.norm == "norm first" else y


def _attend(sizes: Attention, tensors: Tensors, u: jax.Array) -> jax.Array:
    batch, steps, _ = u.shape
    q, k, v = (
        _linear(u * sizes.factor_in, tensors[f"{name}_proj.weight"], tensors.get(f"{name}_proj.bias")).reshape(
            batch, steps, -1, sizes.head_dim
        )
        for name in "qkv"
    )
    q, k = _turned(sizes, q), _turned(sizes, k * sizes.factor_key)
    q = q.reshape(batch, steps, sizes.key_heads, -1, sizes.head_dim)
    scores = jnp.einsum("bskhd,btkd->bkhst", q, k) * sizes.scale
    scores = jnp.where(jnp.tril(jnp.ones((steps, steps), bool)), scores, -jnp.inf)
    y = jnp.einsum("bkhst,btkd->bskhd", jax.nn.softmax(scores, -1), v).reshape(batch, steps, -1)
    return _linear(y, tensors["o_proj.weight"], tensors.get("o_proj.bias")) * sizes.factor_out


def _turned(sizes: Attention, x: jax.Array) -> jax.Array:
    """Rotary positions: channels in pairs (i, i + half) turn with the position."""
    if sizes.base is None:
        return x
    half = sizes.rotary // 2
    angle = jnp.arange(x.shape[1])[:, None] * sizes.base ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    one, other, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return jnp.concatenate([one * cos - other * sin, other * cos + one * sin, rest], -1)


def _feed_forward(spec: LanguageSpec, tensors: Tensors, u: jax.Array, seen: dict[str, jax.Array]) -> jax.Array:
    if "gate_proj.weight" in tensors:
        gate = _linear(u, tensors["gate_proj.weight"], tensors.get("gate_proj.bias")) * spec.factors["gate"]
        inner = jax.nn.silu(gate) * _linear(u, tensors["up_proj.weight"], tensors.get("up_proj.bias"))
        last = "down_proj"
    elif spec.settings.rows == "discrete":
        inner = jax.nn.gelu(_linear(u, tensors["fc1.weight"], tensors.get("fc1.bias")), approximate=True)
        last = "fc2"
    else:
        first, last = ("input_linear", "output_linear") if "input_linear.weight" in tensors else ("fc1", "fc2")
        halves = jnp.split(_linear(u, tensors[f"{first}.weight"], tensors.get(f"{first}.bias")), 2, -1)
        value, gate = halves if spec.gate == "second" else halves[::-1]
        inner = value * jax.nn.silu(gate)
    seen |= {"mlp": u, "mlp inner": inner}
    return _linear(inner, tensors[f"{last}.weight"], tensors.get(f"{last}.bias")) * spec.factors["feed_forward"]


def _norm(tensors: Tensors, name: str, x: jax.Array, eps: float) -> jax.Array:
    """RMS norm, or layer norm where there is a bias."""
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    x = x if bias is None else x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + eps) * weight
    return x if bias is None else x + bias


def _linear(x: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    y = x @ weight.T
    return y if bias is None else y + bias


def below(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
