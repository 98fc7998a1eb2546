"""The numbered layers of a model that have no SSM, and what stands there instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from last_cli.families.layer import Layer
from last_cli.formats import Key


def without_ssm(layers: Sequence[Layer], leaves: Iterable[Key]) -> dict[tuple[str, ...], list[str]]:
    """Places such as "model/layers/3" that stand beside those of the SSM layers and hold none, by what they hold.

    Norms do not count as what a place holds, where there is anything else.
    """
    own = {place for layer in layers if (place := _place(next(iter(layer.leaves.values()))))}
    stacks, held = {place[:-1] for place in own}, dict[Key, dict[str, None]]()
    for key in leaves:
        place = _place(key)
        if place and place[:-1] in stacks and place not in own:
            held.setdefault(place, {}).setdefault(key[len(place)])
    found: dict[tuple[str, ...], list[str]] = {}
    for place in sorted(held, key=lambda place: (place[:-1], int(place[-1]))):
        parts = [part for part in held[place] if "norm" not in part] or list(held[place])
        found.setdefault(tuple(sorted(parts)), []).append("/".join(place))
    return found


def _place(key: Key) -> Key:
    """The start of a path, up to the number of a layer that has parts; empty where there is none."""
    return next((key[: i + 1] for i in range(len(key) - 1) if key[i].isdecimal()), ())
