"""The language model of Mamba-2 mixers as a Network. What needs JAX is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.errors import CheckpointError
from last_cli.base.progress import Progress
from last_cli.families.find import Layer
from last_cli.families.lti.config import ModelConfig
from last_cli.families.mamba2.family import ORDERS, REFERENCES
from last_cli.families.mamba2.network.blocks import enter, parts, shortened
from last_cli.families.mamba2.network.spec import LanguageSpec, language_spec
from last_cli.families.network import Blockwise, Network, Observe, Systems, Variables, Watch
from last_cli.formats import Key, Leaf


def spec(
    leaves: Mapping[Key, Leaf], layers: Sequence[Layer], config: ModelConfig, files: Mapping[str, Any]
) -> LanguageSpec:
    """The model that the tensors' shapes and the files beside them describe, see spec.language_spec."""
    return language_spec({".".join(key): leaf.shape for key, leaf in leaves.items()}, files)


def variables(leaves: Mapping[Key, Any], layers: Sequence[Layer]) -> dict[Key, Any]:
    """All tensors, by their own names."""
    return dict(leaves)


def module(spec: LanguageSpec) -> NoReturn:
    """There is none: the model that transformers or mamba_ssm has is the one to train."""
    raise CheckpointError(
        "a language model has no Flax module here", "transformers or mamba_ssm load the directory for training"
    )


def fold(spec: LanguageSpec, variables: Variables, systems: Systems, length: int, precision: str) -> Any:
    """The tensors by name, in single precision."""
    return {name: np.asarray(array, np.float32) for name, array in _flat(variables)}


def _flat(variables: Variables, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in variables.items():
        if isinstance(part, Mapping):
            yield from _flat(part, f"{prefix}{name}.")
        else:
            yield prefix + name, part


def forward(spec: LanguageSpec, params: Any, x: Any, lengths: Any, platform: str) -> Any:
    """-log p of every token but the first, see forward.surprise; 0 of padding."""
    import jax.numpy as jnp

    from last_cli.families.mamba2.network.forward import surprise

    inside = jnp.arange(1, x.shape[1]) < lengths[:, None]
    return jnp.where(inside, surprise(spec, params, x), 0.0)


def watch(spec: LanguageSpec) -> Watch:
    """There are no taps: a mixer is no System."""
    raise CheckpointError(
        "the mixers of a language model are no linear systems, whose gates or moments could be measured",
        "⟦criterion fisher⟧ and ⟦criterion energy⟧ measure states on text",
    )


def _on_text(name: str, *first: str, by_step: bool) -> Observe:
    """What a function of this room finds, as a mean over steps, of which each counts once, or over sequences.

    Args:
        name: of its module and of the function: "observe.squares".
        first: its first arguments.
        by_step: which mean.
    """

    def run(spec: LanguageSpec, params: Any, x: Any, lengths: Any, skips: Any) -> tuple[dict[str, Any], Any]:
        import jax
        import jax.numpy as jnp

        module, _, function = name.partition(".")
        observe = partial(getattr(import_module(f"{__package__}.{module}"), function), *first)
        counted = _counted(x, lengths, skips)
        found = jax.lax.map(lambda one: observe(spec, params, one[0][None], one[1]), (x, counted))
        weights = counted.sum(axis=1) if by_step else jnp.ones(len(x))
        return {prefix.replace(".", "/"): own for prefix, own in found.items()}, weights

    return run


def change(spec: LanguageSpec, params: Any, others: Any, x: Any, lengths: Any, skips: Any) -> Any:
    """Of the logits at every position that counts, see forward.change."""
    import jax

    from last_cli.families.mamba2.network import forward

    counted = _counted(x, lengths, skips)
    return jax.lax.map(lambda one: forward.change(spec, (params, others), one[0][None], one[1]), (x, counted))


def refit(
    spec: LanguageSpec, whole: Any, masked: Any, x: Any, lengths: Any, skips: Any, progress: Progress | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """See Network.refit and refit.refit."""
    from last_cli.families.mamba2.network.refit import refit

    lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
    counted = np.asarray(_counted(x, lengths, skips), np.float32)
    found = refit(spec, (whole, masked), np.asarray(x, np.int32), counted, progress)
    by_layer: dict[str, dict[str, np.ndarray]] = {}
    for prefix in (f"{block.prefix}.{block.mixer}" for block in spec.blocks if block.mixer):
        if own := {n.removeprefix(f"{prefix}."): a for n, a in found.items() if n.startswith(f"{prefix}.")}:
            by_layer[prefix.replace(".", "/")] = own
    return by_layer


def _counted(x: Any, lengths: Any, skips: Any) -> Any:
    """1.0 for each step that counts, 0.0 for padding and for those that are only there for the others."""
    import jax.numpy as jnp

    places = jnp.arange(x.shape[1])
    return jnp.where((places >= skips[:, None]) & (places < lengths[:, None]), 1.0, 0.0)


def loss(outputs: Float[np.ndarray, "n predictions"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The sum over all but a sequence's first so many predictions."""
    return np.where(np.arange(outputs.shape[1]) >= labels[:, None], outputs, 0.0).sum(axis=1)


def _run_block(spec: LanguageSpec, tensors: Any, x: Any) -> Any:
    from last_cli.families.mamba2.network.forward import watched_block

    return watched_block(spec, tensors, x)


def _leave(spec: LanguageSpec, tensors: Any, x: Any, tokens: Any) -> Any:
    from last_cli.families.mamba2.network.forward import left

    return left(spec, tensors, x[:, :-1], tokens[:, 1:])


FLAPS = (("flap", "heads"), ("flap", "channels"), ("reference-flap", "heads"))
_OUTPUTS = _on_text("observe.outputs", by_step=True)
_BY_CHANNEL = {order: _on_text("slopes.channels", order, by_step=False) for order in ORDERS}

LANGUAGE = Network(
    name="language model",
    options=(),
    infer=lambda leaves, layers: {},
    spec=spec,
    variables=variables,
    module=module,
    fold=fold,
    forward=forward,
    watch=watch,
    loss=loss,
    outputs=lambda spec, length: length - 1,
    answers="tokens",
    precisions=("float32",),
    change=change,
    blockwise=Blockwise(parts, enter, _run_block, _leave, shortened),
    refit=refit,
    observed={
        ("hinf", "states"): _on_text("observe.squares", by_step=True),
        ("energy", "states"): _on_text("observe.energies", by_step=True),
        ("energy", "heads"): _OUTPUTS,
        ("energy", "channels"): _OUTPUTS,
        **dict.fromkeys(FLAPS, _on_text("observe.fluctuations", by_step=False)),
        **{(order, "states"): _on_text("slopes.states", order, by_step=False) for order in (*ORDERS, *REFERENCES)},
        **{(order, target): _BY_CHANNEL[order] for order in ORDERS for target in ("heads", "channels")},
    },
    apart=frozenset(FLAPS),
)
