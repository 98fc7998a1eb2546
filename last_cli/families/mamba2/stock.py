"""What changes in a model of transformers: what its stock class can hold, else what our modelling file is told.

A stock class has one number of states, heads and channels for all layers, and one epsilon for all norms. With that
epsilon divided by r (see widths) the residual stream is made 1/sqrt(r) times as large, so that every other norm sees
what it saw: rms(s x; s^2 eps) = rms(x; eps).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.mamba2.dialect import MAIN, TYPES, number, of_language, section, shown, type_of
from last_cli.families.mamba2.modelling import OURS, entries, is_ours, with_entries, without_entries
from last_cli.families.mamba2.widths import Change, Widths
from last_cli.families.resizing import Rescale, Resizing
from last_cli.formats.types import Key, Leaf, dtype_of

Values = dict[tuple[str, ...], Any]

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

OUT_BIAS_KEYS = {"falcon_h1": "projectors_bias"}
"""Keys that tell of a bias of out_proj alone."""

EMBEDDINGS, WRITERS = ("embeddings", "embed_tokens"), ("out_proj", "o_proj", "down_proj")
LATENT, EXPERTS, HEAD, FINAL_NORMS = "fc2_latent_proj", "experts", "lm_head", ("norm_f", "final_layernorm")
BESIDE = {
    *("norm", "input_layernorm", "pre_ff_layernorm", "in_proj", "conv1d", "A_log", "D", "dt_bias"),
    *("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "gate", "fc1_latent_proj"),
}
"""Parts of mamba2, bamba and nemotron_h by what they do to the residual stream: those beside it do nothing."""

LOSS = "between 1e-6 and 1e-1 of the logits' scale in the models that were measured"


def in_transformers(change: Change) -> Resizing:
    """What changes in a model of transformers; see Family.resized.

    Raises:
        UsageError: neither the stock class nor our modelling file can load what it becomes.
        CheckpointError: the configuration says other sizes than the tensors have.
    """
    files, stock = change.pruning.files, change.pruning.stock
    _refuse_other_sizes(change)
    values, why = _sizes(change)
    if not why:
        sizes = {"config.json": _inside(files, values)}
        found = _rescaled(change)
        if not found.inexact or stock:
            return Resizing(sizes, found.arrays, found.settings, found.inexact)
        why = (found.inexact, "⟦stock⟧ writes it all the same, and says by how much it differs")
    if stock:
        raise UsageError(*why)
    keys, config = TYPES[change.said.name], files[MAIN]
    own = config.get(keys.groups) == config.get(keys.heads)  # By these two the modelling file tells it.
    if not change.merged and any(w.groups != (w.heads if own else change.said.groups) for w in change.after):
        raise UsageError(*why if own else _taking_groups(change.said.name, change.said.groups))
    told = {"config.json": with_entries(files, entries(change), why)}
    arrays = change.norms(single=True)
    return Resizing(arrays=arrays, settings=told) if arrays else Resizing(told)


def _refuse_other_sizes(change: Change) -> None:
    """Raises CheckpointError where a class would make the model in other sizes than it is stored in."""
    if is_ours(change.pruning.files):
        return
    keys, config, one = TYPES[change.said.name], of_language(change.pruning.files[MAIN]), change.before[0]
    said = {keys.states: one.states, keys.heads: one.heads, keys.head_dim: one.head_dim}
    said |= {key: one.inner / change.width if key.endswith("expand") else one.inner for key in keys.inner}
    for key, found in said.items():
        if config.get(key, found) not in (found, None):
            raise CheckpointError(
                f"config.json: {key} is {shown(config[key])}, and the tensors have {found:g}",
                "no class loads that: put the configuration right",
            )


def _taking_groups(name: str, groups: int) -> tuple[str, str]:
    """What is said where an earlier pruning left a head to each group, and some of these are to go."""
    return (
        f"a layer has one head in each of its groups, which would go with it, and {name} has {groups} in all layers",
        "prune the model before to the number of heads that are wanted; ⟦masked⟧ keeps all shapes",
    )


def _inside(files: Mapping[str, Any], values: Values) -> Values:
    """Values at the place of the language model's configuration in that of a model of several kinds of data."""
    at = () if type_of(files[MAIN]) in TYPES else ("text_config",)
    return {path if path[0] in OURS else (*at, *path): value for path, value in values.items()}


def _sizes(change: Change) -> tuple[Values, tuple[str, str] | None]:
    """The keys of the sizes; or why they cannot say these, and what can be done."""
    name, keys, before, after = change.said.name, TYPES[change.said.name], change.before[0], change.after[0]
    if not change.alike:
        counts, each = change.pruning.counts, _each(change.pruning.target, before)
        return {}, (
            f"layers would {differing(counts, each)}, and {name} has one number for all",
            "⟦stock⟧ fills layers up with zeros to the largest; ⟦scope layer⟧ keeps as many in every layer",
        )
    if change.biased and not section(change.pruning.files, MAIN).get(OUT_BIAS_KEYS.get(name, "")):
        return {}, (f"the class of {name} has no bias of out_proj alone", "leave out ⟦stock⟧")
    if change.merged:
        return {}, (
            f"the gate's norm keeps {before.norm_groups} groups, and {name} has one number for those and for B and C",
            "merged in its class, they would be another model: leave out ⟦stock⟧; ⟦masked⟧ keeps all shapes",
        )
    if any(eps != change.said.eps for eps in change.said.each_eps or ()):
        return {}, (f"gate norms have epsilons of their own, and {name} has one for all norms", "leave out ⟦stock⟧")
    ours = is_ours(change.pruning.files)
    values: Values = {
        (key,): new
        for key, old, new in (
            (keys.states, before.states, after.states),
            (keys.heads, before.heads, after.heads),
            (keys.groups, before.groups, after.groups),
            (keys.head_dim, before.head_dim, after.head_dim),
        )
        if old != new or ours
    }
    for inner in keys.inner if before.inner != after.inner or ours else ():
        ratio = inner.endswith("expand")
        if ratio and after.inner % change.width:
            return {}, _inexpressible(name, before, after, change.width)
        values[(inner,)] = after.inner // change.width if ratio else after.inner
    return values | (without_entries() if ours else {}), None


def _inexpressible(name: str, before: Widths, after: Widths, width: int) -> tuple[str, str]:
    """What is said of channels that are no multiple of the model's width, and which numbers of units would be some."""
    target = "heads" if before.heads != after.heads else "channels"
    count = before.heads // before.unit_groups if target == "heads" else before.head_dim
    fits = [n for n in range(1, count) if before.keeping(target, n).inner % width == 0]
    ratios = "⟦scope layer⟧ and " + ", ".join(f"⟦ratio {round(1 - n / count, 4):g}⟧ ({n} of {count})" for n in fits)
    sizes = f"{after.heads} heads of {after.head_dim} channels are {after.inner}, no multiple of the width {width}"
    return (
        f"{sizes}, and the configuration of {name} can say no others",
        f"it can of as many {_each(target, before)} as with {ratios}" if fits else "no smaller number is one",
    )


def differing(counts: Sequence[int], each: str) -> str:
    """How layers would differ."""
    return f"keep {min(counts)} to {max(counts)} {each}" if len(set(counts)) > 1 else "stay of different sizes"


def _each(target: str, before: Widths) -> str:
    return f"{target} a group" if target == "heads" and before.unit_groups > 1 else target


def _rescaled(change: Change) -> Resizing:
    """What a stock class computes the same with: one epsilon and, where that is exact, a larger residual stream."""
    arrays = change.norms(single=False)
    if not arrays:
        return Resizing()
    leaves, name, files, ratio = change.pruning.leaves, change.said.name, change.pruning.files, change.ratios[0]
    key, scale = TYPES[name].eps, math.sqrt(ratio)
    if not isinstance(key, str):
        what = f"the class of {name} has a constant epsilon of the gate's norm, {key:g}"
        return Resizing({}, arrays, inexact=f"{what}: the output differs from the masked model's by {LOSS}")
    values: Values = {(key,): change.said.eps * ratio}
    config = files[MAIN] if type_of(files[MAIN]) in TYPES else files[MAIN]["text_config"]
    lost = [] if all(_holds(leaves[k], scale) for k in arrays) else ["the weight of the gate's norm is rounded"]
    if keys := STREAM_KEYS.get(name):
        values |= {(factor,): _times(config, factor, place, scale) for factor, place in keys.items()}
    else:
        whole = config is files[MAIN]
        stream, why = _stream(leaves, config, scale) if whole else ({}, "a model stands around this one")
        arrays |= stream
        lost += [f"the residual stream stays as it is, since {why}"] if why else []
    what = f"{name} has one epsilon for all norms, and {' and '.join(lost)}"
    inexact = f"{what}: the output differs from the masked model's by {LOSS}" if lost else ""
    return Resizing({}, arrays, {"config.json": _inside(files, values)}, inexact)


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
