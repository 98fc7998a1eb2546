"""What `last inspect` finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Record, Result
from last_cli.results.source import Place


@dataclass(frozen=True, repr=False)
class LayerFound(Record):
    """One SSM layer.

    Attributes:
        name: its path in the tree.
        family: the kind of layer.
        parameterisation: how its parameters are stored.
        states: stored per group, padding included.
        groups: independent systems.
        features: inputs of all groups together.
        directions: 2 where it runs over the sequence both ways.
        outputs: of all groups together, where they are not as many as the inputs.
    """

    json_optional = ("outputs",)

    name: str
    family: str
    parameterisation: str
    states: int
    groups: int
    features: int
    directions: int
    outputs: int | None = None


@dataclass(frozen=True, repr=False)
class LeafFound(Record):
    """One leaf of the tree.

    Attributes:
        path: in the tree.
        shape: of the array.
        dtype: its type; empty where there is no number.
        kind: array, scalar, string, none or empty.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True, repr=False)
class Untouched(Record):
    """What stands in layers beside these that have no SSM.

    Attributes:
        layers: their paths.
        parts: what stands there.
    """

    layers: Sequence[str]
    parts: Sequence[str]


@dataclass(frozen=True, repr=False)
class Inspection(Result):
    """What `last inspect` shows.

    Attributes:
        path, step, item, layout: where it lies and in which format.
        layers: the SSM layers; empty where there are none.
        leaves: every leaf of the tree.
        parameters: numbers in the model's parameters.
        numbers: in all arrays.
        bytes: of all arrays.
        config: what is known of the model.
        sources: where each value of it came from.
        stamp: what `last` wrote into it.
        warnings: which step was taken, and anything odd.
        untouched: layers that have no SSM.
    """

    command = "inspect"
    headline = ("checkpoint", "layout", "parameters", "bytes")
    json_keys = (
        "checkpoint", "layers", "parameters", "numbers", "bytes", "config", "sources", "stamp", "leaves", "warnings",
        "untouched",
    )  # fmt: skip
    json_optional = ("untouched",)

    path: str
    step: int | None
    item: str | None
    layout: str
    layers: Sequence[LayerFound]
    leaves: Sequence[LeafFound]
    parameters: int
    numbers: int
    bytes: int
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    stamp: Mapping[str, Any]
    warnings: Sequence[str]
    untouched: Sequence[Untouched] = ()

    @property
    def checkpoint(self) -> Place:
        """Where it lies."""
        return Place(self.path, self.step, self.item, self.layout)
