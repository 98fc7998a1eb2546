"""What keeps a smaller mixer exact: the gate's norm takes its mean over fewer channels, and is rescaled for it.

Without the zeros of what is gone the mean of squares is 1/r times as large, r = channels left/channels of one norm
group. Weight / sqrt(r) and epsilon / r put that right. A stock class of transformers has one epsilon for all norms:
with it divided by r, the residual stream is made 1/sqrt(r) times as large, so that every other norm sees what it saw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.mamba2.dialect import EPS_LIST, MAIN, TYPES, Settings, number, settings
from last_cli.families.mamba2.resize import inside
from last_cli.families.mamba2.targets import NORM
from last_cli.families.mamba2.widths import widths
from last_cli.families.rescale import Rescale, Rescaling, Shrinking
from last_cli.formats.types import Key, Leaf, dtype_of

STREAM_KEYS: dict[str, dict[str, int | None]] = {
    "granitemoehybrid": {"embedding_multiplier": None, "residual_multiplier": None},
    "falcon_h1": {
        "embedding_multiplier": None,
        "ssm_out_multiplier": None,
        "attention_out_multiplier": None,
        "mlp_multipliers": 1,
    },
}
"""Factors on all that is added to the residual stream, in configurations that have them; of a pair, which one."""

EMBEDDINGS, WRITERS = ("embeddings", "embed_tokens"), ("out_proj", "o_proj", "down_proj")
LATENT, EXPERTS, HEAD, FINAL_NORMS = "fc2_latent_proj", "experts", "lm_head", ("norm_f", "final_layernorm")
BESIDE = {
    *("norm", "input_layernorm", "pre_ff_layernorm", "in_proj", "conv1d", "A_log", "D", "dt_bias"),
    *("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "gate", "fc1_latent_proj"),
}
"""Parts of mamba2, bamba and nemotron_h by what they do to the residual stream: those beside it do nothing."""

_LOSS = "between 1e-6 and 5e-2 of the logits' scale in the models that were measured"


def rescaled(pruning: Shrinking) -> Rescaling:
    """What changes with the sizes; see Family.rescaled.

    Raises:
        UsageError: the classes that load the model cannot hold what would be exact.
    """
    said = settings(pruning.files)
    factors: dict[int, float] = {}
    for i, (layer, count) in enumerate(zip(pruning.layers, pruning.counts, strict=True)):
        before = widths(layer, said.norm_by_head)
        after = before.keeping(pruning.target, count)
        if NORM in layer.leaves and before.norm_width != after.norm_width:
            factors[i] = before.norm_width / after.norm_width
    if not factors:
        return Rescaling()
    norms = {pruning.layers[i].leaves[NORM]: math.sqrt(factor) for i, factor in factors.items()}
    if said.name in TYPES:
        return _stock(said, pruning, norms, next(iter(factors.values())))
    return _own(said, pruning, norms, factors)


def _own(said: Settings, pruning: Shrinking, norms: Mapping[Key, float], factors: Mapping[int, float]) -> Rescaling:
    """Of mamba_ssm: an epsilon for each layer, and weights in single precision where they are not."""
    if pruning.stock:
        return Rescaling(
            {key: Rescale(factor) for key, factor in norms.items()},
            inexact=f"{said.name} has one epsilon, {said.eps:g}, for the gate's norm of every model: the output is off "
            f"by {_LOSS}; without ⟦stock⟧ it is exact, and {EPS_LIST} says the epsilons",
        )
    arrays = {
        key: Rescale(factor, "float32" if dtype_of(pruning.leaves[key].dtype).itemsize < 4 else None)
        for key, factor in norms.items()
    }
    eps = [said.eps_of(i, layer.name) * factors.get(i, 1.0) for i, layer in enumerate(pruning.layers)]
    return Rescaling(arrays, {"config.json": {(EPS_LIST,): eps}})


def _stock(said: Settings, pruning: Shrinking, norms: Mapping[Key, float], factor: float) -> Rescaling:
    """Of transformers: one epsilon and, where that is exact, a larger residual stream.

    Args:
        said: of the model.
        pruning: see Shrinking.
        norms: keys and factors of the gate's norms, which are all alike.
        factor: 1/r.
    """
    arrays = {key: Rescale(scale) for key, scale in norms.items()}
    key, at, scale = TYPES[said.name].eps, inside(pruning.files), math.sqrt(factor)
    if not isinstance(key, str):
        what = f"the class of {said.name} has a constant epsilon of the gate's norm, {key:g}"
        return Rescaling(arrays, inexact=_lossy(pruning.stock, what, "no stock class holds it"))
    config = pruning.files[MAIN]
    for part in at:
        config = config[part]
    values: dict[tuple[str, ...], Any] = {(*at, key): said.eps * factor}
    lost = [] if all(_holds(pruning.leaves[k], scale) for k in norms) else ["the weight of the gate's norm is rounded"]
    if keys := STREAM_KEYS.get(said.name):
        values |= {(*at, name): _times(config, name, place, scale) for name, place in keys.items()}
    else:
        stream, why = _stream(pruning.leaves, config, scale) if not at else ({}, "a model stands around this one")
        arrays |= stream
        lost += [f"the residual stream stays as it is, since {why}"] if why else []
    if not lost:
        return Rescaling(arrays, {"config.json": values})
    what = f"{said.name} has one epsilon for all norms, and {' and '.join(lost)}"
    exact = "a checkpoint in float32 is exact, and in 16 bits so is ⟦ratio 0.75⟧, whose factors are powers of two"
    return Rescaling(arrays, {"config.json": values}, _lossy(pruning.stock, what, exact))


def _lossy(stock: bool, what: str, exact: str) -> str:
    """What is said of an output that is not exact; an error unless it is asked for."""
    if stock:
        return f"{what}: the output differs from the masked model's by {_LOSS}"
    raise UsageError(
        f"the smaller model would not give what the masked one gives: {what}",
        f"⟦stock⟧ writes it all the same and says by how much it differs; {exact}",
    )


def _times(config: Mapping[str, Any], name: str, place: int | None, scale: float) -> Any:
    """A factor of a configuration, or one of a pair, made larger; 1 where none is said."""
    if place is None:
        return number(config.get(name, 1.0), name) * scale
    pair = [number(value, name) for value in config.get(name) or (1.0, 1.0)]
    return [value * scale if i == place else value for i, value in enumerate(pair)]


def _stream(leaves: Mapping[Key, Leaf], config: Mapping[str, Any], scale: float) -> tuple[dict[Key, Rescale], str]:
    """What writes to the residual stream, and the last norm where it reads for a head that is tied; or why not."""
    own = {key: leaf for key, leaf in leaves.items() if key[0] != "mtp"}
    latent = any(LATENT in key for key in own)
    tied = (HEAD, "weight") not in own or bool(config.get("tie_word_embeddings"))
    found: dict[Key, Rescale] = {}
    for key, leaf in own.items():
        factor = _role(key, scale, latent=latent, tied=tied)
        if factor is None:
            return {}, f"it is not known what {'.'.join(key)} does to it"
        if factor != 1.0 and not _holds(leaf, factor):
            return {}, f"its weights are of {leaf.dtype}, which would round them"
        if factor != 1.0:
            found[key] = Rescale(factor)
    return found, ""


def _role(key: Key, scale: float, *, latent: bool, tied: bool) -> float | None:
    """The factor on a tensor when the stream is `scale` times as large; None where it is not known."""
    parts = set(key)
    if not parts.isdisjoint(FINAL_NORMS):
        return 1 / scale if tied else 1.0
    if HEAD in parts:
        return scale if tied and key[-1] == "weight" else 1.0
    if not parts.isdisjoint(EMBEDDINGS) or LATENT in parts:
        return scale
    if not parts.isdisjoint(WRITERS):
        return 1.0 if latent and EXPERTS in parts else scale
    return None if parts.isdisjoint(BESIDE) else 1.0


def _holds(leaf: Leaf, factor: float) -> bool:
    """Whether a tensor times a factor is what it should be, but for single precision."""
    return dtype_of(leaf.dtype).itemsize >= 4 or math.frexp(factor)[0] == 0.5
