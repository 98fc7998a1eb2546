"""The modelling file for transformers where mixers differ: when a model needs it, and what config.json says then.

The file itself, `modeling_last.py`, is copied into the output and runs there alone: nothing of `last` imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.family import Loader
from last_cli.families.layer import Layer
from last_cli.families.mamba2.dialect import LAST_LAYERS, MAIN, TYPES, Settings

FILE = "modeling_last.py"
AUTO_MAP, AUTO_CLASS = "auto_map", "AutoModelForCausalLM"
CLASSES = {
    "mamba2": "LastMamba2ForCausalLM",
    "bamba": "LastBambaForCausalLM",
    "granitemoehybrid": "LastGraniteMoeHybridForCausalLM",
    "nemotron_h": "LastNemotronHForCausalLM",
    "falcon_h1": "LastFalconH1ForCausalLM",
    "zamba2": "LastZamba2ForCausalLM",
}
"""The classes of the modelling file, by model type."""

Entry = dict[str, Any]


def entries(layers: Sequence[Layer], said: Settings, counts: Sequence[int]) -> list[Entry]:
    """What `last_layers` says of these mixers when each keeps so many states in every group."""
    return [
        {
            "states": states,
            "heads": layer.units["channels"].groups,
            "head_dim": layer.units["channels"].count,
            "eps": None if said.norm is None else said.eps_of(number, layer.name),
        }
        for number, (layer, states) in enumerate(zip(layers, counts, strict=True))
    ]


def with_entries(
    files: Mapping[str, Any], said: Settings, found: Sequence[Entry], inside: tuple[str, ...]
) -> dict[tuple[str, ...], Any]:
    """What else changes in config.json when its mixers become so.

    Args:
        files: of the configuration, as they are.
        said: what they say.
        found: of all mixers in order.
        inside: where the configuration of the language model lies in config.json.

    Raises:
        UsageError: the mixers differ, and another modelling file is named, or the model is more than a language model.
    """
    main, keys = files[MAIN], TYPES[said.name]
    first, ours = found[0], _is_ours(main)
    usual = {"heads": main.get(keys.heads), "head_dim": main.get(keys.head_dim), "eps": said.eps}
    as_said = all(first[name] == value or None in (first[name], value) for name, value in usual.items())
    if as_said and all(entry == first for entry in found):
        return dict.fromkeys([(LAST_LAYERS,), (AUTO_MAP,)], None) if ours else {}
    sizes = sorted({entry["states"] for entry in found})
    what = f"layers would keep {sizes[0]} to {sizes[-1]} states, and {said.name} has one number for all"
    hint = "⟦scope layer⟧ keeps as many in every layer; ⟦stock⟧ fills layers up with zeros to the largest"
    if inside:
        raise UsageError(f"{what}; our modelling file is for language models alone, no {main.get('model_type')}", hint)
    if main.get(AUTO_MAP) and not ours:
        raise UsageError(f"{what}; our modelling file would take the place of that in config.json's auto_map", hint)
    return {(LAST_LAYERS,): list(found), (AUTO_MAP,): {AUTO_CLASS: f"{Path(FILE).stem}.{CLASSES[said.name]}"}}


def loader(files: Mapping[str, Any]) -> Loader | None:
    """What loads a model of transformers, see Family.loader."""
    main = files.get(MAIN) or {}
    inner = main.get("text_config")
    if main.get("model_type") not in TYPES and (not isinstance(inner, dict) or inner.get("model_type") not in TYPES):
        return None
    if _is_ours(main):
        return Loader(f"with trust_remote_code=True ({FILE})", {FILE: Path(__file__).with_name(FILE)})
    return Loader("in the stock class", {FILE: None})


def _is_ours(main: Mapping[str, Any]) -> bool:
    """Whether config.json names our modelling file."""
    said = main.get(AUTO_MAP)
    return isinstance(said, dict) and str(said.get(AUTO_CLASS)).partition(".")[0] == Path(FILE).stem
