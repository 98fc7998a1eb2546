"""The modelling file for transformers where mixers differ: when a model needs it, and what config.json says then.

The file itself, `modeling_last.py`, is copied into the output and runs there alone: nothing of `last` imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.family import Loader
from last_cli.families.mamba2.dialect import EPS_LIST, LAST_LAYERS, MAIN, MAMBA, NORM_GROUPS, type_of
from last_cli.families.mamba2.widths import Change

FILE = "modeling_last.py"
AUTO_MAP, AUTO_CLASS = "auto_map", "AutoModelForCausalLM"
CLASSES = {
    "mamba2": "LastMamba2ForCausalLM",
    "bamba": "LastBambaForCausalLM",
    "granitemoehybrid": "LastGraniteMoeHybridForCausalLM",
    "nemotron_h": "LastNemotronHForCausalLM",
    "falcon_h1": "LastFalconH1ForCausalLM",
    "zamba2": "LastZamba2ForCausalLM",
    "mamba": "LastMambaForCausalLM",
    "falcon_mamba": "LastFalconMambaForCausalLM",
    "jamba": "LastJambaForCausalLM",
    "zamba": "LastZambaForCausalLM",
}
"""The classes of the modelling file, by model type: those of Mamba-2, then those of Mamba-1."""

OURS = (LAST_LAYERS, AUTO_MAP)
"""The keys of config.json that tell our modelling file of the mixers."""


def entries(change: Change) -> list[dict[str, Any]]:
    """What `last_layers` says of mixers as they are to be."""
    norm = change.said.norm is not None
    return [
        {"states": one.states, "heads": one.heads, "head_dim": one.head_dim, "eps": eps if norm else None}
        | ({"groups": one.groups} if change.merged else {})
        | ({"bias": True} if change.biased else {})
        for one, eps in zip(change.after, change.eps, strict=True)
    ]


def with_entries(
    files: Mapping[str, Any], found: Sequence[dict[str, Any]], why: tuple[str, str]
) -> dict[tuple[str, ...], Any]:
    """What changes in config.json when its mixers become so.

    Args:
        files: of the configuration, as they are.
        found: of all mixers in order.
        why: no stock class holds them, and what can be done.

    Raises:
        UsageError: another modelling file is named, or the model is more than a language model.
    """
    main, (what, hint) = files[MAIN], why
    if type_of(main) not in CLASSES:
        raise UsageError(f"{what}; our modelling file is for language models alone, no {main.get('model_type')}", hint)
    if main.get(AUTO_MAP) and not is_ours(files):
        raise UsageError(f"{what}; our modelling file would take the place of that in config.json's auto_map", hint)
    return {(LAST_LAYERS,): list(found), (AUTO_MAP,): {AUTO_CLASS: f"{Path(FILE).stem}.{CLASSES[type_of(main)]}"}}


def without_entries() -> dict[tuple[str, ...], None]:
    """What changes in config.json when a stock class loads the model again."""
    return dict.fromkeys((key,) for key in OURS)


def loader(files: Mapping[str, Any]) -> Loader | None:
    """What loads a model of transformers, see Family.loader."""
    main = files.get(MAIN) or {}
    if type_of(main) not in CLASSES and type_of(main.get("text_config")) not in CLASSES:
        listed = [k for k in (EPS_LIST, NORM_GROUPS) if any(k in (files.get(file) or {}) for file in (MAIN, MAMBA))]
        return Loader(f"with code that reads {' and '.join(listed)} in its configuration") if listed else None
    if is_ours(files):
        return Loader(f"with trust_remote_code=True ({FILE})", {FILE: Path(__file__).with_name(FILE)})
    return Loader("in the stock class", {FILE: None})


def is_ours(files: Mapping[str, Any]) -> bool:
    """Whether config.json names our modelling file."""
    said = files[MAIN].get(AUTO_MAP)
    return isinstance(said, dict) and str(said.get(AUTO_CLASS)).partition(".")[0] == Path(FILE).stem
