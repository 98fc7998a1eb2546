"""What the configuration files of a language model say of its layers one by one, when some of these go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.mamba2.dialect import (
    LAST_LAYERS,
    MAIN,
    MAMBA,
    TYPES,
    Settings,
    section,
    settings,
    type_of,
    whole,
)
from last_cli.formats.format import Settings as Values

Path = tuple[str, ...]

KINDS = ("layer_types", "layers_block_type")
"""Lists of what every layer is."""
ATTENTION = ("attn_layer_indices", "attn_layer_idx", "attn_layers")
"""Lists of the numbers of layers of attention."""
COUNTS: dict[str, dict[str, tuple[Path, ...]]] = {
    "mamba_ssm": {MAIN: (("n_layer",),)},
    "phi-mamba": {MAIN: (("MixerModel", "input", "n_layer"), ("Block1", "n_layers"))},
    "llamba": {MAIN: (("n_layer",),)},
    "mamba-in-llama": {MAIN: (("num_hidden_layers",),), MAMBA: (("n_layer",),)},
}
"""Where libraries other than transformers say how many layers there are."""
LISTS: dict[str, Path] = {"phi-mamba": ("Block1", "core_input"), "llamba": ("ssm_cfg",), "mamba-in-llama": ("ssm_cfg",)}
"""Below which key there are lists of sizes for each mixer, if not at the top."""


@dataclass(frozen=True)
class Stack:
    """The layers of a model.

    Attributes:
        mixers: whether each has a mixer.
        kept: the numbers of those that stay, rising.
    """

    mixers: Sequence[bool]
    kept: Sequence[int]

    def numbers(self, old: Sequence[Any], name: str) -> list[int]:
        """The new numbers of those layers of a list that stay."""
        if any(not isinstance(n, int) or not 0 <= n < len(self.mixers) for n in old):
            raise CheckpointError(
                f"config.json: {name} is {list(old)!r}, expected numbers of the {len(self.mixers)} layers"
            )
        return [self.kept.index(n) for n in old if n in self.kept]

    def entries(self, old: Sequence[Any], name: str) -> list[Any]:
        """The entries that stay of a list with one for each mixer, or for each layer."""
        own = [i for i, mixer in enumerate(self.mixers) if mixer]
        if len(old) == len(own):
            return [entry for i, entry in zip(own, old, strict=True) if i in self.kept]
        if len(old) == len(self.mixers):
            return [old[i] for i in self.kept]
        raise CheckpointError(
            f"config.json: {name} has {len(old)} entries, expected one for each of {len(own)} mixers, or of "
            f"{len(self.mixers)} layers"
        )


def shortened(files: Mapping[str, Any], mixers: Sequence[bool], kept: Sequence[int]) -> Values:
    """What changes in configuration files when only some layers stay.

    Args:
        files: named as in Index.config.
        mixers: whether each layer has a mixer.
        kept: the numbers of the layers that stay, rising.

    Raises:
        CheckpointError: a list there does not fit the layers.
        UsageError: the number of layers stands nowhere.
    """
    said, stack = settings(files), Stack(mixers, kept)
    places = {MAIN: (("num_hidden_layers",),)} if said.name in TYPES else COUNTS[said.name]
    return {file.removeprefix("file:"): _values(files, file, paths, said, stack) for file, paths in places.items()}


def _values(
    files: Mapping[str, Any], file: str, paths: Sequence[Path], said: Settings, stack: Stack
) -> dict[Path, Any]:
    main = files[file]
    at: Path = ("text_config",) if file == MAIN and said.name in TYPES and type_of(main) not in TYPES else ()
    config = section(main, at[0]) if at else main
    values: dict[Path, Any] = {}
    for path in paths:
        there: Any = config
        for part in path[:-1]:
            there = section(there, part)
        if path[-1] not in there or whole(there[path[-1]], path[-1]) != len(stack.mixers):
            raise UsageError(
                f"{file.removeprefix('file:')}: {'.'.join(path)} is {there.get(path[-1])!r}, and the model has "
                f"{len(stack.mixers)} blocks",
                "is it the configuration of this model?",
            )
        values[(*at, *path)] = len(stack.kept)
    for name in KINDS:
        if isinstance(listed := config.get(name), list):
            values[(*at, name)] = [listed[i] for i in stack.kept] if len(listed) == len(stack.mixers) else listed
    for name in ATTENTION:
        if config.get(name):
            values[(*at, name)] = stack.numbers(config[name], name)
    if LAST_LAYERS in main:
        values[(LAST_LAYERS,)] = stack.entries(main[LAST_LAYERS], LAST_LAYERS)
    return values | (_lists(config, LISTS.get(said.name, ()), stack) if said.name not in TYPES else {})


def _lists(config: Mapping[str, Any], below: Path, stack: Stack) -> dict[Path, Any]:
    """The lists of sizes and epsilons, with an entry for each mixer."""
    found: dict[Path, Any] = {}
    for path in dict.fromkeys(((), below)):
        there: Any = config
        for part in path:
            there = section(there, part)
        for name, value in there.items():
            if isinstance(value, list) and name.endswith("_list"):
                found[(*path, name)] = stack.entries(value, name)
    return found
