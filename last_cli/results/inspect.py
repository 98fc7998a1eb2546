"""What `last inspect` finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.version import __version__
from last_cli.formats import Key, Leaf
from last_cli.results.source import Json


@dataclass(frozen=True)
class Inspection:
    """What `last inspect` shows.

    Attributes:
        path, step, item, layout: where it lies and in which format.
        layers: name, family, states, groups, features and directions of each SSM layer; empty where there is none.
        leaves: every leaf's path, shape and type.
        parameters: numbers in the model's parameters; total: numbers in all arrays; bytes: of all arrays.
        config, sources: what is known of the model, and where it came from.
        stamp: what `last` wrote into it.
        notes: which step was taken, and anything odd.
        untouched: layers beside these that have no SSM, each entry with their paths as `layers` and what stands there
            as `parts`.
    """

    path: str
    step: int | None
    item: str | None
    layout: str
    layers: Sequence[Mapping[str, Any]]
    leaves: Mapping[Key, Leaf]
    parameters: int
    total: int
    bytes: int
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    stamp: Mapping[str, Any]
    notes: Sequence[str]
    untouched: Sequence[Mapping[str, Any]] = ()

    def as_json(self) -> Json:
        """last.inspect/1."""
        where = {"path": self.path, "step": self.step, "item": self.item, "layout": self.layout}
        leaves = [
            {"path": "/".join(k), "shape": f.shape, "dtype": f.dtype, "kind": f.kind} for k, f in self.leaves.items()
        ]
        return {
            "schema": "last.inspect/1",
            "last": __version__,
            "checkpoint": where,
            "layers": list(self.layers),
            "parameters": self.parameters,
            "numbers": self.total,
            "bytes": self.bytes,
            "config": dict(self.config),
            "sources": dict(self.sources),
            "stamp": dict(self.stamp),
            "leaves": leaves,
            "warnings": list(self.notes),
            **({"untouched": list(self.untouched)} if self.untouched else {}),
        }
