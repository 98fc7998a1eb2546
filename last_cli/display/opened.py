"""What was read, and what was assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from last_cli.checkpoint.checkpoint import Checkpoint


def read_line(checkpoint: Checkpoint) -> str:
    """What was read, in one line."""
    sizes = [layer.sizes for layer in checkpoint.layers]
    width = " and ".join(str(f) for f in dict.fromkeys(one.features for one in sizes))
    few, many = min(one.states for one in sizes), max(one.states for one in sizes)
    states = str(few) if few == many else f"{few} to {many}"
    each = "state" if few == many == 1 else "states"
    each += " a channel" if sizes[0].groups > 1 else ""
    way = "two directions" if sizes[0].directions == 2 else "one direction"
    location = checkpoint.index.location
    step = f", step {location.step}" if location.step is not None else ""
    return (
        f"{location.path}: {checkpoint.family}, {len(sizes)} layers of {states} {each}, width {width}, {way} "
        f"({location.layout}{step})"
    )


def assumed_line(assumed: Mapping[str, Any]) -> str:
    """What was assumed."""
    said = ", ".join(f"{name} = {str(value).lower()}" for name, value in assumed.items())
    return f"assumed (nothing that is known says): {said}"


def needed_lines(needed: Mapping[str, Any]) -> list[str]:
    """What a criterion was given."""
    said = {"horizon": "energies over {} steps", "calibration": "the network ran on {}"}
    return [said[name].format(_listed(value)) for name, value in needed.items()]


def _listed(value: Any) -> str:
    """An entry of a report in words, without digests."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items() if name != "digest")
    return str(value)
