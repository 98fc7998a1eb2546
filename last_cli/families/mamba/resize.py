"""What a pruning changes in the configuration of a Mamba-1 model: the keys of the sizes, and nothing else."""

from __future__ import annotations

import math
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.mamba.dialect import Settings, settings
from last_cli.families.resizing import Resizing, Shrinking

FILE = "config.json"


def resized(pruning: Shrinking) -> Resizing:
    """The new values of a configuration; see Family.resized.

    Raises:
        UsageError: layers keep different numbers, or one that the classes that read this configuration cannot say.
    """
    said, layers, target, counts = settings(pruning.files), pruning.layers, pruning.target, pruning.counts
    if len(set(counts)) > 1:
        filled = target == "states" and said.eps is None
        raise UsageError(
            f"layers would keep {min(counts)} to {max(counts)} {target}, and {said.name} has one number for all",
            "⟦scope layer⟧ keeps as many in every layer"
            + ("; ⟦stock⟧ fills layers up with zeros to the largest" if filled else ""),
        )
    if target == "states":
        return Resizing({FILE: {(*said.path, said.keys.states): counts[0]}})
    before = layers[0].units["channels"]
    heads, channels = (counts[0], before.count) if target == "heads" else (before.groups, counts[0])
    width = layers[0].sizes.features
    values = _channels(said, width, heads * channels)
    if values is None:
        raise UsageError(
            f"layers would keep {heads * channels} channels, and {said.name} has {said.keys.expand} times its width of "
            f"{width}",
            f"⟦multiple_of {width // math.gcd(width, channels if target == 'heads' else heads)}⟧ rounds {target} up to "
            "what it can say",
        )
    if said.keys.heads and target == "heads":
        values[said.keys.heads] = heads
    return Resizing({FILE: {(*said.path, key): value for key, value in values.items()}})


def _channels(said: Settings, width: int, inner: int) -> dict[str, Any] | None:
    """The keys of the number of channels; None where the class takes multiples of the model's width alone."""
    keys = said.keys
    if inner % width == 0:
        return {keys.expand: inner // width} | ({keys.inner: inner} if keys.inner else {})
    if keys.inner:
        return {keys.inner: inner}
    if keys.fraction:
        ratio = inner / width
        return {keys.expand: ratio if int(ratio * width) == inner else math.nextafter(ratio, math.inf)}
    return None
