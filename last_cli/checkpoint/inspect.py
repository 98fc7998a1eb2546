"""What is in a checkpoint, from its metadata alone: no array is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import last_cli.formats as formats
from last_cli.base.errors import CheckpointError
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint, from_index
from last_cli.checkpoint.sizes import count, size
from last_cli.families.lti.network.spec import Tree
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
        }


def inspect(path: str | Path, *, step: int | None = None, item: str | None = None) -> Inspection:
    """Look into a checkpoint without reading its arrays.

    Raises:
        CheckpointError: no checkpoint is there, or its metadata cannot be read.
    """
    index = formats.index(path, step, item)
    notes = [*index.location.notes, *index.warnings]
    opened: Checkpoint | None = None
    try:
        opened = from_index(index)
    except CheckpointError as error:
        notes.append(error.args[0])
    notes += _emptied(index.stamp or {})
    arrays = [leaf for leaf in index.leaves.values() if leaf.kind == "array"]
    model = Tree.of(opened.layers).variables(index.leaves) if opened else {}
    parameters = [leaf for key, leaf in model.items() if key[0] == "params" and leaf.kind == "array"]
    location = index.location
    return Inspection(
        path=str(location.path),
        step=location.step,
        item=location.item,
        layout=location.layout,
        layers=[_layer(layer) for layer in opened.layers] if opened else [],
        leaves=index.leaves,
        parameters=count(parameters),
        total=count(arrays),
        bytes=size(arrays),
        config=asdict(opened.config) if opened else {},
        sources=opened.sources if opened else {},
        stamp=index.stamp or {},
        notes=notes,
    )


def _emptied(stamp: Mapping[str, Any]) -> list[str]:
    """A note for each layer that the last pruning left without a live state."""
    layers = stamp["pruned"][-1]["layers"] if stamp.get("pruned") else []
    return [f"{layer['name']}: no state of it is live, B and C are zero" for layer in layers if not _any(layer["kept"])]


def _any(kept: Sequence[Any]) -> bool:
    return any(not isinstance(entry, list) or entry for entry in kept)


def _layer(layer: Any) -> Json:
    return {
        "name": layer.name,
        "family": layer.family.kind,
        "parameterisation": layer.family.name,
        **asdict(layer.shape),
    }
