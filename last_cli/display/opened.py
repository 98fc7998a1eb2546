"""What was read, and what was assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.lti.config import ModelConfig

OURS = ("assumed", "tree", "flag", "preset")
"""Origins of a value that whoever types the command knows, or that is told as assumed."""


def read_line(checkpoint: Checkpoint) -> str:
    """What was read, in one line."""
    sizes = [layer.sizes for layer in checkpoint.layers]
    width = " and ".join(str(f) for f in dict.fromkeys(one.features for one in sizes))
    few, many = min(one.states for one in sizes), max(one.states for one in sizes)
    states = str(few) if few == many else f"{few} to {many}"
    each = "state" if few == many == 1 else "states"
    each += f" per {checkpoint.layers[0].family.group}" if sizes[0].groups > 1 else ""
    way = "two directions" if sizes[0].directions == 2 else "one direction"
    location = checkpoint.index.location
    step = f", step {location.step}" if location.step is not None else ""
    return (
        f"{location.path}: {checkpoint.family}, {len(sizes)} layers of {states} {each}, width {width}, {way} "
        f"({location.layout}{step})"
    )


def said_lines(checkpoint: Checkpoint) -> list[str]:
    """Recorded options of the layers that are unusual, or that a file beside the run has: one line per origin."""
    by_origin: dict[str, list[str]] = {}
    usual = ModelConfig()
    for name in checkpoint.layer_options:
        origin, value = checkpoint.origins[name], getattr(checkpoint.config, name)
        if origin in OURS or (origin == "checkpoint" and value == getattr(usual, name)):
            continue
        by_origin.setdefault(origin, []).append(f"{name} = {str(value).lower()}")
    return [f"from {_named(origin)}: {', '.join(values)}" for origin, values in by_origin.items()]


def assumed_line(assumed: Mapping[str, Any]) -> str:
    """What was assumed."""
    said = ", ".join(f"{name} = {str(value).lower()}" for name, value in assumed.items())
    return f"assumed, not recorded in the checkpoint: {said}"


def needed_lines(needed: Mapping[str, Any]) -> list[str]:
    """What a criterion was given."""
    said = {"horizon": "energies over {} steps", "calibration": "the network ran on {}"}
    return [said[name].format(_listed(value)) for name, value in needed.items() if name in said]


def _named(origin: str) -> str:
    return "the checkpoint" if origin == "checkpoint" else origin


def _listed(value: Any) -> str:
    """An entry of a report in words, without digests."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_listed(item)}" for name, item in value.items() if not name.startswith("digest"))
    return " ".join(value) if isinstance(value, list) else str(value)
