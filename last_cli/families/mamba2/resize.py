"""What a pruning changes in the configuration files of a language model: the keys of the sizes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.layer import Layer
from last_cli.families.mamba2.dialect import MAIN, MAMBA, TYPES, settings
from last_cli.families.mamba2.modelling import entries, with_entries
from last_cli.formats.format import Settings

_FILE = "file:"
_LISTS = ("d_state_list", "conv_dim_list", "in_proj_out_features_list")
"""What the paper's code writes beside mamba_ssm's own keys: an entry for each layer."""


def resized(files: Mapping[str, Any], layers: Sequence[Layer], target: str, counts: Sequence[int]) -> Settings:
    """The new values of a configuration; see Family.resized.

    Raises:
        UsageError: layers would have different sizes, which neither the classes that read this configuration nor our
            modelling file load.
    """
    said = settings(files)
    ragged = len(set(counts)) > 1
    if target != "states":
        raise UsageError(f"⟦target {target}⟧: only states can be removed from a model of {said.name} so far")
    if said.name in TYPES:
        inside = _inside(files)
        values = {} if ragged else {(*inside, TYPES[said.name].states): counts[0]}
        return {_name(MAIN): values | with_entries(files, said, entries(layers, said, counts), inside)}
    file, path = _place(said.name)
    values: dict[tuple[str, ...], Any] = {} if ragged else {(*path, "d_state"): counts[0]}
    there = files.get(f"{_FILE}{file}") or {}
    if said.name == "mamba_ssm":
        return {file: values | _lists(there, layers, counts, ragged)}
    return {file: values | ({(*path, "d_state_list"): list(counts)} if ragged else {})}


def _place(name: str) -> tuple[str, tuple[str, ...]]:
    """The file, and the path in it, where a library has the number of states."""
    return {
        "mamba_ssm": (_name(MAIN), ("ssm_cfg",)),
        "llamba": (_name(MAIN), ("ssm_cfg",)),
        "phi-mamba": (_name(MAIN), ("Block1", "core_input")),
        "mamba-in-llama": (_name(MAMBA), ("ssm_cfg",)),
    }[name]


def _inside(files: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the configuration of the language model lies in that of a model of several kinds of data."""
    main = files[MAIN]
    return () if main.get("model_type") in TYPES else ("text_config",)


def _lists(
    there: Mapping[str, Any], layers: Sequence[Layer], counts: Sequence[int], ragged: bool
) -> dict[tuple[str, ...], Any]:
    """A number for each layer, where layers differ or the file has such lists already."""
    fewer = [2 * layer.sizes.groups * (layer.sizes.states - n) for layer, n in zip(layers, counts, strict=True)]
    found: dict[tuple[str, ...], Any] = {}
    for name in _LISTS:
        if name in there or (ragged and name == "d_state_list"):
            rows = [n - less for n, less in zip(there.get(name, ()), fewer, strict=False)]
            found[(name,)] = list(counts) if name == "d_state_list" else rows
    return found


def _name(file: str) -> str:
    return file.removeprefix(_FILE)
