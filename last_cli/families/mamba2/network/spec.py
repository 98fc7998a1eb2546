"""What a language model of Mamba-2 mixers looks like: its blocks as its tensors show them, its numbers as it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from last_cli.base.errors import CheckpointError
from last_cli.base.words import some
from last_cli.families.mamba2.dialect import (
    MAIN,
    MAMBA,
    Settings,
    epsilon,
    number,
    numbers,
    of_language,
    section,
    settings,
    whole,
)
from last_cli.families.mamba2.mixer import Mixer, mixer

MIXERS, ATTENTION = ("mixer", "mamba"), "self_attn"
NORMS, SECOND_NORMS = ("norm", "input_layernorm"), ("norm2", "post_attention_layernorm", "pre_ff_layernorm")
FEED_FORWARD = ("mlp", "feed_forward", "shared_mlp")
EMBEDDINGS, FINAL_NORMS = ("embeddings", "embedding", "embed_tokens"), ("norm_f", "final_layernorm", "norm")
ROOTS, HEAD = ("backbone", "model"), "lm_head"
"""What the layers, the embedding and the last norm stand below, and what stands beside it."""

TYPES = ("mamba2", "mamba_ssm", "phi-mamba", "llamba", "mamba-in-llama", "bamba", "granitemoehybrid", "falcon_h1")
"""The model types that the network runs."""

BY_WEIGHTS = "`last score` and `last prune` work without a text, such as with ⟦criterion last⟧"

_DIGITS = 9  # of the number of a layer


@dataclass(frozen=True)
class Attention:
    """Causal attention with rotary positions.

    Attributes:
        heads, key_heads, head_dim: sizes; several heads share keys and values.
        scale: on the products of queries and keys.
        base: of the wave lengths of the positions; None where there are none.
        rotary: how many channels of a head are turned.
        factor_in, factor_out, factor_key: on the input, the output and the keys.
    """

    heads: int
    key_heads: int
    head_dim: int
    scale: float
    base: float | None
    rotary: int
    factor_in: float = 1.0
    factor_out: float = 1.0
    factor_key: float = 1.0


@dataclass(frozen=True)
class Block:
    """One layer: what stands behind its first norm, and the feed-forward part behind its second.

    Attributes:
        prefix: of its tensors.
        eps: of its norms.
        norm, mixer, attention, second_norm, feed_forward: names below the prefix, or None.
        sizes: of the mixer.
        attends: of the attention.
    """

    prefix: str
    eps: float
    norm: str
    mixer: str | None = None
    attention: str | None = None
    second_norm: str | None = None
    feed_forward: str | None = None
    sizes: Mixer | None = None
    attends: Attention | None = None


@dataclass(frozen=True)
class LanguageSpec:
    """A language model.

    Attributes:
        settings: of its mixers.
        blocks: in order.
        embedding, final_norm, head: names of tensors; without a head of its own the embedding is it.
        eps: of the last norm.
        gate: which half of a joint projection of the feed-forward part is the gate, the activation of it otherwise.
        factors: on embeddings, residual branches, logits, and the gate and output of the feed-forward part.
        vocabulary: how many tokens there are.
    """

    settings: Settings
    blocks: tuple[Block, ...]
    embedding: str
    final_norm: str
    eps: float
    gate: Literal["first", "second"]
    factors: Mapping[str, float]
    vocabulary: int
    head: str = HEAD

    def __hash__(self) -> int:
        return hash(repr(self))  # some parts are dictionaries

    @property
    def d_input(self) -> int:
        """See network.Spec."""
        return self.vocabulary

    @property
    def d_output(self) -> int:
        """See network.Spec."""
        return self.vocabulary

    @property
    def documents(self) -> int:
        """See network.Spec."""
        return 1


def language_spec(shapes: Mapping[str, tuple[int, ...]], files: Mapping[str, Any]) -> LanguageSpec:
    """The spec of a model from the shapes of its tensors by name, and from the files beside them.

    Raises:
        CheckpointError: it has parts that this network does not run; names the first.
    """
    said = settings(files)
    main = of_language(files.get(MAIN) or {})
    if said.name not in TYPES:
        raise not_run(said.name)
    root = _root(shapes)
    embedding = _one_of(shapes, root, EMBEDDINGS, "embedding")
    final = _one_of(shapes, root, FINAL_NORMS, "last norm")
    below, head = f"{root}.layers.", _head(shapes, root)
    parts: dict[int, dict[str, dict[str, tuple[int, ...]]]] = {}
    for name, shape in shapes.items():
        if name.startswith(below):
            index, _, inner = name.removeprefix(below).partition(".")
            part, _, leaf = inner.partition(".")
            if not (index.isascii() and index.isdigit() and len(index) < _DIGITS and leaf):
                raise CheckpointError(f"the tensor {name} is no part of a model that our network runs")
            parts.setdefault(int(index), {}).setdefault(part, {})[leaf] = shape
    own = f"{root}." if root not in ROOTS else ""  # Around a root of another name other kinds of data may be read.
    known = (below, f"{embedding}.", f"{final}.", f"{head}.")
    if rest := [name for name in shapes if name.startswith(own) and not name.startswith(known)]:
        raise CheckpointError(f"the tensor {rest[0]} is no part of a model that our network runs")
    mixers = [i for i in sorted(parts) if not parts[i].keys().isdisjoint(MIXERS)]
    by_mixer = {i: replace(said, eps=said.eps_of(number, f"{below}{i}")) for number, i in enumerate(mixers)}
    blocks = tuple(_block(f"{below}{i}", parts[i], by_mixer.get(i, said), files) for i in sorted(parts))
    return LanguageSpec(
        said,
        blocks,
        embedding,
        final,
        _eps(main),
        "second" if said.name == "mamba_ssm" else "first",
        _factors(main),
        _rows(shapes, f"{embedding}.weight", "the model"),
        head,
    )


def not_run(name: str) -> CheckpointError:
    """That a model type is none of those that run."""
    return CheckpointError(
        f"no network of ours runs the model type '{name}'; it runs {', '.join(TYPES)}",
        f"{BY_WEIGHTS}, whatever stands around the mixers",
    )


def _root(shapes: Mapping[str, Any]) -> str:
    """What layers with mixers stand below: one of ROOTS, or a longer name in a model of several kinds of data."""
    found = (re.match(rf"(.+?)\.layers\.\d+\.(?:{'|'.join(MIXERS)})\.", name) for name in shapes)
    roots = dict.fromkeys(match[1] for match in found if match)
    if len(roots) != 1:
        raise CheckpointError(f"mixers stand below {some(list(roots)) or 'nothing'}, expected one model of them")
    return next(iter(roots))


def _one_of(shapes: Mapping[str, Any], root: str, names: tuple[str, ...], what: str) -> str:
    for name in (f"{root}.{name}" for name in names):
        if f"{name}.weight" in shapes:
            return name
    raise CheckpointError(f"no tensor of the {what}: none of {', '.join(f'{root}.{name}.weight' for name in names)}")


def _head(shapes: Mapping[str, Any], root: str) -> str:
    """The head that stands beside the root, or beside what that is in."""
    parts = root.split(".")
    places = (".".join([*parts[:n], HEAD]) for n in range(len(parts) - 1, -1, -1))
    return next((place for place in places if f"{place}.weight" in shapes), HEAD)


def _eps(config: Mapping[str, Any]) -> float:
    for key in ("rms_norm_eps", "layer_norm_epsilon", "norm_epsilon"):
        if key in config:
            return epsilon(config[key], key)
    return 1e-5


def _block(
    prefix: str, parts: Mapping[str, Mapping[str, tuple[int, ...]]], said: Settings, files: Mapping[str, Any]
) -> Block:
    def named(*names: str) -> str | None:
        return next((name for name in names if name in parts), None)

    found = (named(*NORMS), named(*MIXERS), named(ATTENTION), named(*SECOND_NORMS), named(*FEED_FORWARD))
    if others := sorted(set(parts) - set(found)):
        raise CheckpointError(
            f"{prefix}.{others[0]}: no part of a layer that our network runs",
            f"it runs {', '.join(TYPES)}, none with experts; {BY_WEIGHTS}",
        )
    norm, inner, attention, second, feed = found
    if norm is None or (inner is None and attention is None):
        raise CheckpointError(f"{prefix}: neither a norm with a mixer nor one with attention behind it")
    if inner and "D" not in parts[inner]:  # Blocks of mamba_ssm and Nemotron-H are all called mixers.
        raise CheckpointError(f"{prefix}.{inner}: no mixer of Mamba-2, and no part of a layer that our network runs")
    sizes = mixer(parts[inner], said) if inner else None
    main = of_language(files.get(MAIN) or {})
    attends = _attention(f"{prefix}.{attention}", parts[attention], main, said.name) if attention else None
    eps = _eps(files[MAMBA] if inner and MAMBA in files else main)
    return Block(prefix, eps, norm, inner, attention, second, feed, sizes, attends)


def _attention(prefix: str, shapes: Mapping[str, tuple[int, ...]], main: Mapping[str, Any], said: str) -> Attention:
    heads = whole(main.get("num_attention_heads"), "num_attention_heads")
    keys = whole(main.get("num_key_value_heads", heads), "num_key_value_heads")
    rows, key_rows = (_rows(shapes, f"{name}_proj.weight", prefix) for name in "qk")
    if rows % heads or heads % keys or rows // heads * keys != key_rows:
        raise CheckpointError(
            f"{prefix}: q_proj has {rows} rows and k_proj {key_rows}, expected those of {heads} and {keys} heads, "
            "as config.json says"
        )
    head_dim, rope = rows // heads, section(main, "rope_parameters")
    if rope.get("rope_type", "default") != "default" or main.get("rope_scaling"):
        raise CheckpointError(f"config.json: positions of the kind {rope.get('rope_type')!r}, expected the plain ones")
    base = number(rope.get("rope_theta", main.get("rope_theta", 10000.0)), "rope_theta")
    part = rope.get("partial_rotary_factor", main.get("partial_rotary_factor", 1.0))
    if not 0 <= number(part, "partial_rotary_factor") <= 1 or base <= 0:
        raise CheckpointError(f"config.json: partial_rotary_factor {part!r} and rope_theta {base!r} turn no heads")
    granite = said == "granitemoehybrid"  # Its class turns nothing unless it is told so, and scales by 1.
    turned = main.get("position_embedding_type", None if granite else "rope") == "rope"
    return Attention(
        heads,
        keys,
        head_dim,
        _multiplier(main, "attention", 1.0 if granite else head_dim**-0.5),
        base if turned else None,
        int(head_dim * number(part, "partial_rotary_factor")),
        *(_multiplier(main, name) for name in ("attention_in", "attention_out", "key")),
    )


def _rows(shapes: Mapping[str, tuple[int, ...]], name: str, prefix: str) -> int:
    """The rows of a tensor; raises CheckpointError where it is none with rows."""
    if not shapes.get(name):
        raise CheckpointError(f"{prefix}: no tensor {name} with rows")
    return shapes[name][0]


def _multiplier(main: Mapping[str, Any], name: str, usual: float = 1.0) -> float:
    return number(main.get(f"{name}_multiplier", usual), f"{name}_multiplier")


def _factors(main: Mapping[str, Any]) -> dict[str, float]:
    gate, down = numbers(main.get("mlp_multipliers", (1.0, 1.0)), "mlp_multipliers", 2)
    if not (scaling := number(main.get("logits_scaling", 1.0), "logits_scaling")):
        raise CheckpointError("config.json: logits_scaling is 0, expected another number")
    return {
        "embedding": _multiplier(main, "embedding"),
        "residual": _multiplier(main, "residual"),
        "logits": _multiplier(main, "lm_head") / scaling,
        "gate": gate,
        "feed_forward": down,
    }
